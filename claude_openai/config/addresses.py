"""Addresses to listen on: `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; and addresses of proxies."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

__all__ = ["UNIX", "UNIX_PEER", "Address", "Network", "TcpAddress", "UnixAddress", "parse_address", "parse_proxy"]

UNIX: Final = "unix:"
UNIX_PEER: Final = "unix"
MOST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host, which is a name or an address, and a port; port 0 is any free port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The file of a Unix socket."""

    path: Path


Address: TypeAlias = TcpAddress | UnixAddress
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_address(text: str) -> Address:
    """Parse an address.

    Raises:
        ValueError: it is none; the text of the error is a predicate.
    """
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path or path.endswith("/") or "\0" in path:
            raise ValueError("does not name a file after 'unix:'")
        try:
            return UnixAddress(Path(path).expanduser().absolute())
        except RuntimeError:
            raise ValueError("is in the home folder of an unknown user") from None
    host, _, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not host.strip("[]") or (":" in host and not is_bracketed) or not (port.isascii() and port.isdigit()):
        raise ValueError("is not HOST:PORT, [IPV6]:PORT or unix:PATH")
    if len(port) > len(str(MOST_PORT)) or int(port) > MOST_PORT:
        raise ValueError(f"has a port above {MOST_PORT}")
    return TcpAddress(host.strip("[]") if is_bracketed else host, int(port))


def parse_proxy(text: str) -> Network | Literal["unix"]:
    """Parse the address or network of a proxy, or `unix`.

    Raises:
        ValueError: it is none; the text of the error is a predicate.
    """
    if text == UNIX_PEER:
        return UNIX_PEER
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("is not an address, a network such as 10.0.0.0/8, or unix") from None
