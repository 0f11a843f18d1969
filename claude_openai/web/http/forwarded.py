"""The address of a client behind trusted proxies, for the log. Nothing else goes by the headers of proxies.

Only X-Forwarded-For is read. A second header, such as Forwarded, could be the client's own where the proxy sets but
the first.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from claude_openai.config.addresses import UNIX_PEER, Network, parse_proxy

__all__ = ["TrustedProxies"]

MAX_CHARS: Final = 64


class TrustedProxies:
    """The proxies whose X-Forwarded-For is believed.

    Args:
        names: addresses and networks; `unix` for each client of a Unix socket.
    """

    def __init__(self, names: Iterable[str]) -> None:
        proxies = [parse_proxy(name) for name in names]
        self._unix = UNIX_PEER in proxies
        self._networks: list[Network] = [each for each in proxies if not isinstance(each, str)]

    def client_of(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the address that the nearest proxy which is not trusted, or the client, had; None if unknown.

        Args:
            peer: address of the other end of the connection, None of a Unix socket.
            headers: those of the request.
        """
        if not (self._unix if peer is None else self._trusts(peer)):
            return None
        values = [value.decode("latin-1") for name, value in headers if name.lower() == b"x-forwarded-for"]
        hops = [hop.strip() for hop in ",".join(values).split(",") if hop.strip()]
        return self._first_of(hops)

    def _first_of(self, hops: Sequence[str]) -> str | None:
        found = next((hop for hop in reversed(hops) if not self._trusts(hop)), hops[0] if hops else None)
        return None if found is None else found[:MAX_CHARS]

    def _trusts(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(found in network for network in self._networks)
