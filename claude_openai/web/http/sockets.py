"""Listening sockets: TCP, Unix, and the sockets of a service manager.

The file of a Unix socket gets its mode and group before the socket listens, so that no other user can connect earlier.
A file that is left from a server that was killed is replaced, and a file on which a program listens is not.
"""

import errno
import grp
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from claude_openai.config import Config, is_loopback
from claude_openai.config.addresses import UNIX, TcpAddress, UnixAddress
from claude_openai.errors import PortInUse, StartError
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.shortages import described, shortage_hint

__all__ = ["SocketListener", "close_all", "local_listener", "open_listeners", "taken_over", "urls_of"]

BACKLOG: Final = 1024


class SocketListener:
    """A listening socket.

    Args:
        listener: trio's listener.
        file: the file of a Unix socket that ends with this listener; None for all others.
    """

    def __init__(self, listener: trio.SocketListener, file: Path | None = None) -> None:
        self._listener = listener
        self.socket = listener.socket
        self._file = None if file is None else (file, _identity(file))

    @property
    def url(self) -> str:
        """The base URL, with the bound port; `unix:PATH` of a Unix socket."""
        name = self.socket.getsockname()
        if self.socket.family == socket.AF_UNIX:
            return f"{UNIX}{os.fsdecode(name)}"
        return f"http://{f'[{name[0]}]' if ':' in name[0] else name[0]}:{name[1]}"

    async def wait_for_client(self) -> None:
        """Wait until `accept` has a client. Without a free descriptor `accept` fails even if there is none."""
        await trio.lowlevel.wait_readable(self.socket)

    async def accept(self) -> trio.SocketStream:
        return await self._listener.accept()

    def close(self) -> None:
        """Close the socket, and remove its file unless another server has replaced it."""
        if self._file is not None:
            path, identity = self._file
            with suppress(OSError):
                if _identity(path) == identity:
                    path.unlink()
        self.socket.close()


def urls_of(listeners: Iterable[SocketListener]) -> list[str]:
    return [listener.url for listener in listeners]


def close_all(listeners: Iterable[SocketListener]) -> None:
    for listener in listeners:
        listener.close()


async def open_listeners(config: Config) -> list[SocketListener]:
    """Bind all addresses, and listen.

    Raises:
        StartError: an address is in use, or is not an address of this machine, or its file cannot be made.
    """
    opened: list[SocketListener] = []
    try:
        for address in config.addresses:
            if isinstance(address, UnixAddress):
                opened.append(_listen_unix(address.path, int(config.unix_mode, 8), config.unix_group))
            else:
                opened += await _listen_tcp(address)
    except BaseException:
        close_all(opened)
        raise
    return opened


def taken_over(sockets: Sequence[socket.socket], *, has_key: bool) -> list[SocketListener]:
    """Return listeners for sockets that another program has opened; close all of them if one is refused.

    Args:
        sockets: listening stream sockets.
        has_key: whether clients must send a key.

    Raises:
        StartError: other machines can reach a socket, and there is no key.
    """
    listeners = [SocketListener(trio.SocketListener(trio.socket.from_stdlib_socket(each))) for each in sockets]
    hosts = [each.getsockname()[0] for each in sockets if each.family != socket.AF_UNIX]
    public = next((host for host in hosts if not is_loopback(host)), None)
    if public is not None and not has_key:
        close_all(listeners)
        raise StartError(
            f"other machines can reach {public!r}, an address of the service manager, and without a key their users "
            "could use your Claude account",
            hint="set --api-key-file or CLAUDE_OPENAI_API_KEY, or let it listen on 127.0.0.1",
        )
    return listeners


async def _listen_tcp(address: TcpAddress) -> list[SocketListener]:
    host, port = address.host, address.port
    try:
        return [SocketListener(listener) for listener in await trio.open_tcp_listeners(port, host=host)]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from None
        problem = f"cannot listen on {host} port {port}: {described(error)}"
        raise StartError(problem, hint=shortage_hint(error)) from None
    except UnicodeError:  # of the codec "idna", for labels that are empty, too long or not characters
        raise StartError(f"cannot listen on {shorten(host)}: not a host name or address") from None


def _listen_unix(path: Path, mode: int, group: str | None) -> SocketListener:
    problem = f"cannot listen on {shorten(str(path))}"
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        listener.bind(str(path))
        try:
            if group is not None:
                os.chown(path, -1, grp.getgrnam(group).gr_gid)
            path.chmod(mode)
            listener.listen(BACKLOG)
            return SocketListener(trio.SocketListener(trio.socket.from_stdlib_socket(listener)), path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except KeyError:
        listener.close()
        raise StartError(f"{problem}: there is no group {group!r}", hint="correct --unix-group") from None
    except OSError as error:
        listener.close()
        reason = described(error) if error.errno else str(error)  # without a number: the path is too long
        raise StartError(f"{problem}: {reason}", hint=shortage_hint(error)) from None
    except BaseException:
        listener.close()
        raise


def _remove_stale(path: Path) -> None:
    """Remove the file of a Unix socket on which nothing listens.

    Raises:
        StartError: a program listens there, or the file is no socket.
        OSError: the file cannot be examined or removed.
    """
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise StartError(f"{shorten(str(path))} is not a socket", hint="move it, or choose another path with --listen")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except FileNotFoundError:
            return
        except BlockingIOError:  # its queue of connections is full
            pass
    raise StartError(
        f"{shorten(str(path))} is in use, perhaps by another claude-openai",
        hint="stop the other program, or choose another path with --listen",
    )


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def local_listener() -> SocketListener:
    """Listen on a free port of 127.0.0.1, without waiting.

    Raises:
        StartError: the system has too few sockets left: one, and two for the ends of a connection.
    """
    listener: socket.socket | None = None
    try:
        listener = socket.create_server(("127.0.0.1", 0))
        # Without the second a client would connect, and wait for its timeout.
        with socket.socket(), socket.socket():
            return SocketListener(trio.SocketListener(trio.socket.from_stdlib_socket(listener)))
    except OSError as error:
        if listener is not None:
            listener.close()
        raise StartError(f"cannot listen on 127.0.0.1: {described(error)}", hint=shortage_hint(error)) from None
