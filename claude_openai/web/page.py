"""The page in the browser: its files, its login, and the tickets for it.

Its files (`dashboard`) contain nothing secret and need no key. All that they show comes from the control routes;
`page_access` decides who may use those.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from quart import Quart, Response, request
from quart_trio.wrappers import TrioResponse
from werkzeug.datastructures import Headers

from claude_openai.config import Config
from claude_openai.errors import BadRequest, Forbidden
from claude_openai.web.access import Guard, has_control_routes
from claude_openai.web.json_response import json_response
from claude_openai.web.page_access import PageAccess, is_own_page, set_cookie

__all__ = ["PAGE", "add_page_routes", "is_of_page", "opens_page"]

PAGE: Final = "/dashboard"
PAGE_PREFIX: Final = "/dashboard/"
# Not any name: the login's route would allow GET too.
_NAMES: Final = "any('index.html', 'page.css', 'page.js', 'stream.js', 'icon.svg')"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


def add_page_routes(app: Quart, config: Config, access: PageAccess) -> None:
    """Add the page, if there is a key for it."""
    if not has_control_routes(config):
        return
    views = PageViews(access, Guard(config), has_key=config.needs_key)
    app.add_url_rule("/", "root", views.root, methods=["GET"])
    app.add_url_rule(PAGE, "page", views.page, methods=["GET"])
    app.add_url_rule(f"{PAGE_PREFIX}<{_NAMES}:name>", "page_file", views.file, methods=["GET"])
    app.add_url_rule(f"{PAGE_PREFIX}login", "page_login", views.log_in, methods=["POST"])
    app.add_url_rule("/control/logout", "page_logout", views.log_out, methods=["POST"])
    app.add_url_rule("/control/tickets", "page_ticket", views.ticket, methods=["POST"])


@dataclass(frozen=True, slots=True)
class PageViews:
    """The views."""

    access: PageAccess
    guard: Guard
    has_key: bool

    async def root(self) -> Response:
        return TrioResponse(b"", status=302, headers={"location": PAGE, **_HEADERS})

    async def page(self) -> Response:
        return await self.file("index.html")

    async def file(self, name: str) -> Response:
        # Imported here, because listening does not need it (see `preload`).
        from claude_openai.web.dashboard import FILES

        content_type, content = FILES[name]
        return TrioResponse(content, headers={"content-type": content_type, **_HEADERS})

    async def log_in(self) -> Response:
        """Exchange a key or a ticket for a cookie and a token. Without either, say which of the two it takes."""
        if not is_own_page(request.headers):
            raise Forbidden("Only the page of this server may log in here", code="origin_not_allowed")
        given = _login_of(await _sent())
        if not given:
            return self._answer({"login": "key" if self.has_key else "ticket"})
        client = request.scope.get("client")
        session = self.access.log_in(str(client[0]) if client else "", **given)
        response = self._answer({"token": session.token})
        response.headers["set-cookie"] = set_cookie(request.headers, session)
        return response

    async def log_out(self) -> Response:
        """End the session of the page that asks."""
        await _sent()
        session = self.access.session_of(request.headers)
        if session is not None:
            self.access.log_out(session)
        response = self._answer({"ended": session is not None})
        response.headers["set-cookie"] = set_cookie(request.headers, None)
        return response

    async def ticket(self) -> Response:
        """Return a ticket for the page, to the owner of a key: a page could prolong its session by one."""
        self.guard.check_control_key(request.headers.get("Authorization"))
        await _sent()
        return self._answer({"ticket": self.access.new_ticket()})

    def _answer(self, body: Mapping[str, Any]) -> Response:
        response = json_response(body)
        response.headers["cache-control"] = "no-store"
        return response


def opens_page(method: str, path: str, headers: Headers) -> bool:
    """Return whether a browser opens the page in a tab, to which any other site may have a link.

    The answer holds nothing that the other site could read, and the page's own policy keeps it out of frames.
    """
    is_visit = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return method == "GET" and path in ("/", PAGE) and is_visit and "Origin" not in headers


def is_of_page(path: str) -> bool:
    """Return whether a path is reachable without a key: a file of the page, or its login."""
    return path in ("/", PAGE) or path.startswith(PAGE_PREFIX)


async def _sent() -> dict[str, Any]:
    """Return the body of the request.

    Raises:
        BadRequest: it is no JSON object.
    """
    try:
        sent = json.loads(cast("bytes", await request.get_data()))
    except (ValueError, RecursionError):
        sent = None
    if not isinstance(sent, dict):
        raise BadRequest("Invalid body; expected a JSON object")
    return sent


def _login_of(sent: Mapping[str, Any]) -> dict[str, str]:
    """Return the key or the ticket of a login, under its name.

    Raises:
        BadRequest: the body has other members.
    """
    is_known = all(name in ("key", "ticket") and isinstance(value, str) for name, value in sent.items())
    if not is_known or len(sent) > 1:
        raise BadRequest("Invalid login; expected an object with 'key' or 'ticket'")
    return dict(sent)
