"""A connection in memory: two pipes, and a server's end that has as much of a socket as the server uses.

Either side may close, half close, or stop reading. The streams of `trio.testing` hold any amount of data, so a sender
could never stall there.
"""

import math
import socket

import trio

__all__ = ["CLIENT_ADDRESS", "SERVER_ADDRESS", "Pipe", "ServerEnd"]

SERVER_ADDRESS = ("127.0.0.1", 80)
CLIENT_ADDRESS = ("127.0.0.1", 50000)


class Pipe:
    """One direction of a connection.

    Args:
        capacity: bytes that may be under way; a sender waits while there are more.
    """

    def __init__(self, capacity: float = math.inf) -> None:
        self._capacity = capacity
        self._under_way = bytearray()
        self._changed = trio.lowlevel.ParkingLot()
        self._sender_closed = False
        self._receiver_closed = False

    @property
    def readable(self) -> bool:
        """Return whether `receive` would return at once."""
        return bool(self._under_way) or self._sender_closed

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all the data.

        Raises:
            BrokenResourceError: the receiver has closed.
        """
        await trio.lowlevel.checkpoint()
        self._check_sender()
        self._under_way += data
        self._changed.unpark_all()
        while len(self._under_way) > self._capacity:
            await self._changed.park()
            self._check_sender()

    async def receive(self, max_bytes: int | None = None) -> bytes:
        """Return some bytes; b"" when the sender has closed and nothing is left."""
        await trio.lowlevel.checkpoint()
        while not (self._under_way or self._sender_closed or self._receiver_closed):
            await self._changed.park()
        if self._receiver_closed:
            raise trio.ClosedResourceError("this side is closed")
        taken = bytes(self._under_way[:max_bytes])
        del self._under_way[:max_bytes]
        self._changed.unpark_all()
        return taken

    def close_sender(self) -> None:
        """End the data."""
        self._sender_closed = True
        self._changed.unpark_all()

    def close_receiver(self) -> None:
        """Drop what is under way, and refuse more."""
        self._receiver_closed = True
        self._under_way.clear()
        self._changed.unpark_all()

    def _check_sender(self) -> None:
        if self._sender_closed:
            raise trio.ClosedResourceError("this side is closed")
        if self._receiver_closed:
            raise trio.BrokenResourceError("the peer has closed")


class ServerEnd(trio.abc.HalfCloseableStream):
    """The server's end of a connection."""

    family = socket.AF_INET

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self.socket = self

    def getsockname(self) -> tuple[str, int]:
        """Return the address of the server."""
        return SERVER_ADDRESS

    def getpeername(self) -> tuple[str, int]:
        """Return the address of the client."""
        return CLIENT_ADDRESS

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `Pipe.send`."""
        await self._outgoing.send(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `Pipe.receive`."""
        return await self._incoming.receive(max_bytes)

    async def send_eof(self) -> None:
        """End the data to the client."""
        await trio.lowlevel.checkpoint()
        self._outgoing.close_sender()

    def close(self) -> None:
        """Close both directions."""
        self._incoming.close_receiver()
        self._outgoing.close_sender()

    async def aclose(self) -> None:
        """Close both directions."""
        self.close()
        await trio.lowlevel.checkpoint()
