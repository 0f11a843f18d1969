"""Finds the user at the other end of a connection, on Linux, if that end is on this machine.

`/proc/net/tcp` and `/proc/net/tcp6` list the TCP sockets of the network namespace with their owners. For a Unix socket
the kernel has the user who connected (SO_PEERCRED).
"""

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import trio

__all__ = ["PEER_UID", "Address", "uid_of_peer", "uid_of_unix_peer"]

# Key in the state of ASGI's scope: the user at the other end of a Unix socket, None if unknown, or for TCP.
PEER_UID: Final = "peer_uid"

# Host and port.
Address: TypeAlias = tuple[str, int]

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_OVERFLOW_UID: Final = Path("/proc/sys/kernel/overflowuid")
# ESTABLISHED, FIN_WAIT1, FIN_WAIT2: the client may have closed its sending side already.
_STATES: Final = ("01", "04", "05")


def uid_of_peer(client: Address, server: Address) -> int | None:
    """Return the user id that owns the other end of a connection, None if unknown. Blocking.

    Args:
        client: address of the other end.
        server: address of the server's end.
    """
    if sys.platform != "linux":
        return None
    with suppress(OSError, ValueError):
        # The id that the kernel shows for all users that this user namespace does not map.
        unknown = int(_OVERFLOW_UID.read_text())
        uid = _owner(_lines(), client, server)
        return None if uid == unknown else uid
    return None


def uid_of_unix_peer(connection: trio.socket.SocketType) -> int | None:
    """Return the user id at the other end of a Unix socket, None if unknown, or if it is another kind of socket."""
    if connection.family != socket.AF_UNIX or sys.platform != "linux":
        return None
    # struct ucred: pid, uid, gid
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid = int(struct.unpack("3i", credentials)[1])
    with suppress(OSError, ValueError):
        return None if uid == int(_OVERFLOW_UID.read_text()) else uid
    return None


def _lines() -> Iterator[str]:
    for table in _TABLES:
        with suppress(FileNotFoundError), table.open() as lines:  # a kernel without IPv6 has no tcp6
            yield from lines


def _owner(lines: Iterable[str], client: Address, server: Address) -> int | None:
    """Return the owner of the socket at `client` that is connected to `server`."""
    # The client may have an IPv6 socket that is connected to the server's IPv4 address.
    wanted = {(_as_listed(client, mapped=mapped), _as_listed(server, mapped=mapped)) for mapped in (False, True)}
    for line in lines:
        fields = line.split()
        # A socket without an inode is no longer open in any process; its owner is listed as 0.
        if tuple(fields[1:3]) in wanted and fields[3] in _STATES and fields[9] != "0":
            return int(fields[7])
    return None


def _as_listed(address: Address, *, mapped: bool) -> str:
    """Format an address as the kernel lists it: words of 32 bits in the machine's byte order, and the port."""
    host = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(host, ipaddress.IPv6Address):
        host = host.ipv4_mapped or host
    if mapped and isinstance(host, ipaddress.IPv4Address):
        host = ipaddress.IPv6Address(f"::ffff:{host}")
    words = struct.unpack(f"={len(host.packed) // 4}I", host.packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"
