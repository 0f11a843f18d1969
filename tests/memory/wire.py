"""One connection in memory: what TCP does that a server can notice, and nothing else.

Either side may close, half close, or stop reading; beyond what the network holds, a sender waits until its peer reads.
(The streams of `trio.testing` hold any amount, so no reader could stall there.) It has bytes only.
"""

import math
import socket

import trio

__all__ = ["Pipe", "ServerEnd"]


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

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._check_sender()
        self._under_way += data
        self._changed.unpark_all()
        while len(self._under_way) > self._capacity:
            await self._changed.park()
            self._check_sender()

    async def receive(self, max_bytes: int | None = None) -> bytes:
        """Some bytes; b"" when the sender has closed and nothing is left."""
        await trio.lowlevel.checkpoint()
        while not (self._under_way or self._sender_closed or self._receiver_closed):
            await self._changed.park()
        if self._receiver_closed:
            raise trio.ClosedResourceError("closed by its own side")
        taken = bytes(self._under_way[:max_bytes])
        del self._under_way[:max_bytes]
        self._changed.unpark_all()
        return taken

    def close_sender(self) -> None:
        self._sender_closed = True
        self._changed.unpark_all()

    def close_receiver(self) -> None:
        self._receiver_closed = True
        self._under_way.clear()
        self._changed.unpark_all()

    def _check_sender(self) -> None:
        if self._sender_closed:
            raise trio.ClosedResourceError("closed by its own side")
        if self._receiver_closed:
            raise trio.BrokenResourceError("the peer has gone")


class ServerEnd(trio.abc.HalfCloseableStream):
    """What the server gets for an accepted connection, with as much of a socket as it asks for."""

    family = socket.AF_INET

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self.socket = self

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 8000)

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", 50000)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._outgoing.send(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._incoming.receive(max_bytes)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._outgoing.close_sender()

    def close(self) -> None:
        self._incoming.close_receiver()
        self._outgoing.close_sender()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()
