"""Access control by headers: keeps out web pages and clients without the key.

A browser lets any page send requests to 127.0.0.1. Each of these is rejected: a Host of another name (it may resolve to
127.0.0.1), an Origin of another server, and a body that is not declared as JSON, which a page may send without a
preflight request.
"""

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from werkzeug.datastructures import Headers

from claude_openai.config import Config, is_loopback
from claude_openai.errors import Forbidden, Unauthorized, UnsupportedMediaType
from claude_openai.keys.key import Key, hash_of
from claude_openai.keys.keyring import Keyring

__all__ = ["CONTROL_PREFIX", "Guard", "has_control_routes"]

CONTROL_PREFIX: Final = "/control/"
# Not for named keys.
ADMIN_PATHS: Final = ("/metrics", "/control/tickets", "/control/conversations/", "/control/forget")

PREFLIGHT_MAX_AGE_S = 600


class Caller(NamedTuple):
    """Hash of a client's key, and the key if it has a name."""

    id: str
    key: Key | None


@dataclass(frozen=True, slots=True)
class Guard:
    """The checks, in the order in which `app` calls them.

    Attributes:
        config: the settings.
        keys: the named keys; None if there are none.
    """

    config: Config
    keys: Keyring | None = None

    def check_host(self, host: str | None, local_address: str) -> None:
        """Reject a Host header that names another machine. HTTP/1.0 requests may lack the header.

        Args:
            host: the header.
            local_address: the address the client connected to.

        Raises:
            Forbidden: it is not a name of this server.
        """
        if not host:
            return
        name = _without_port(host).removesuffix(".")
        ours = {h.lower().removesuffix(".") for h in (*self.config.hosts, *self.config.allowed_hosts)}
        if is_loopback(name) or name in ours or _same_address(name, local_address):
            return
        raise Forbidden(
            f"The Host header {host!r} is not a name of this server",
            hint=f"To allow it, start the server with --allowed-hosts {name}.",
            code="host_not_allowed",
        )

    def check_origin(self, headers: Headers) -> str | None:
        """Reject a request from a foreign web page.

        Returns:
            The origin for Access-Control-Allow-Origin; None without an Origin header, or if it is this server's.

        Raises:
            Forbidden: the page is not allowed.
        """
        origin = headers.get("Origin")
        if origin is None:
            if headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
                return None
        elif origin in self.config.cors_origins or "*" in self.config.cors_origins:
            return origin
        elif origin.lower() in (f"{scheme}://{headers.get('Host', '').lower()}" for scheme in ("http", "https")):
            return None
        shown = "another site" if origin is None else origin
        raise Forbidden(
            f"Requests from web pages of {shown} are not allowed",
            hint="To allow an origin, start the server with --cors-origins ORIGIN.",
            code="origin_not_allowed",
        )

    def check_key(self, authorization: str | None, x_api_key: str | None = None) -> Caller | None:
        """Compare the bearer token and the `x-api-key` header of Claude's clients with the keys; one must fit.

        Returns:
            Who has the key that fits; None if no key is needed.

        Raises:
            Unauthorized: both are missing or wrong, or have expired.
        """
        if not self.config.needs_key:
            return None
        in_header = None if x_api_key is None else f"Bearer {x_api_key}"
        caller = self._valid(caller for caller in map(self._caller, (authorization, in_header)) if caller is not None)
        if caller is None:
            problem = "The API key is wrong" if authorization or x_api_key else "The API key is missing"
            hint = "Send the server's key as 'Authorization: Bearer KEY' or 'x-api-key: KEY'."
            raise Unauthorized(problem, hint=hint)
        return caller

    def check_path(self, path: str, key: Key | None) -> None:
        """Keep named keys from what is about all clients.

        Raises:
            Forbidden: the path is not for this key.
        """
        if key is not None and path.startswith(ADMIN_PATHS):
            raise Forbidden(
                f"The key of {key.name!r} may not use {path}",
                hint="It needs the server's own key (--api-key-file).",
                code="admin_key_required",
            )

    def check_control_key(self, authorization: str | None) -> Key | None:
        """Compare the bearer token with the control key and the server's key, in constant time, and the named keys.

        The control routes exist only if there is a key.

        Returns:
            The named key, None if it is one of the others.

        Raises:
            Unauthorized: it is missing or wrong, or has expired.
        """
        keys = [key for key in (self.config.control_key, self.config.api_key) if key is not None]
        # Compare with all keys, so that the time does not show which one matched.
        fits = [_is_bearer(authorization, key) for key in keys]
        if True in fits or not has_control_routes(self.config):
            return None
        named = None if self.keys is None else self._caller(authorization)
        if named is None or self._valid([named]) is None:
            raise Unauthorized(
                "The key for the control routes is missing or wrong",
                hint="Use `claude-openai runs`, which finds the key, or send the server's key as "
                "'Authorization: Bearer KEY'.",
            )
        return named.key

    def check_body_type(self, headers: Headers) -> None:
        """Reject bodies that are not declared as uncompressed JSON.

        Raises:
            UnsupportedMediaType: another content type, or a compressed body.
        """
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise UnsupportedMediaType(
                f"The Content-Type is {repr(kind) if kind else 'missing'}; expected 'application/json'",
                hint="Send a JSON body with 'Content-Type: application/json'.",
            )
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("Compressed bodies are not supported", hint="Send uncompressed JSON.")

    def _caller(self, authorization: str | None) -> Caller | None:
        """Return who has a key, None if it is no key of this server. The comparisons take constant time."""
        token = _bearer(authorization)
        if self.config.api_key is not None and _is_bearer(authorization, self.config.api_key):
            return Caller(hash_of(token), None)
        key = self.keys.find(token) if self.keys is not None and token else None
        return None if key is None else Caller(key.sha256, key)

    def _valid(self, callers: Iterable[Caller]) -> Caller | None:
        """Return the first whose key has not expired, None if there is none at all.

        Raises:
            Unauthorized: all have expired.
        """
        refusal = None
        for caller in callers:
            refusal = None if self.keys is None or caller.key is None else self.keys.refusal(caller.key)
            if refusal is None:
                return caller
        if refusal is not None:
            raise refusal
        return None


def has_control_routes(config: Config) -> bool:
    """Return whether there is a key for the control routes; without one they do not exist."""
    return config.control_key is not None or config.needs_key


def cors_headers(origin: str) -> dict[str, str]:
    """Return the headers of every response to an allowed origin."""
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": (
            "x-request-id, request-id, retry-after, x-claude-openai-run, x-claude-openai-conversation, "
            "x-claude-openai-started, x-claude-openai-replica, x-claude-openai-joined"
        ),
        "vary": "Origin",
    }


def preflight_headers(requested: str) -> dict[str, str]:
    """Return the headers of the answer to a preflight request.

    Args:
        requested: the Access-Control-Request-Headers header.
    """
    return {
        "access-control-allow-methods": "GET, POST, DELETE",
        "access-control-allow-headers": requested or "authorization, content-type",
        "access-control-max-age": str(PREFLIGHT_MAX_AGE_S),
    }


def _is_bearer(authorization: str | None, key: str) -> bool:
    scheme, _, token = (authorization or "").partition(" ")
    actual, expected = (sha256(text.strip().encode()).digest() for text in (token, key))
    return scheme.lower() == "bearer" and hmac.compare_digest(actual, expected)


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _without_port(host: str) -> str:
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _same_address(name: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(address)
    except ValueError:
        return False
