"""Sockets that a service manager has opened for this process, by systemd's protocol (LISTEN_PID and LISTEN_FDS)."""

import os
import socket
from collections.abc import Mapping
from typing import Final

from claude_openai.errors import StartError

__all__ = ["inherited_sockets"]

FIRST_DESCRIPTOR: Final = 3


def inherited_sockets(environ: Mapping[str, str]) -> list[socket.socket]:
    """Return the listening sockets that are for this process; programs that it starts do not get them.

    Raises:
        StartError: a descriptor is not a listening stream socket.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    return [_listening(descriptor) for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))]


def _listening(descriptor: int) -> socket.socket:
    problem = f"descriptor {descriptor} of the service manager (LISTEN_FDS) is not a listening stream socket"
    hint = "use ListenStream= in the socket unit, without Accept=yes"
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartError(f"{problem}: {error.strerror}", hint=hint) from None
    if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise StartError(problem, hint=hint)
    return found
