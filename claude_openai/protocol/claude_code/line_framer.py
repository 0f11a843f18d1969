"""Splits a stream of bytes into lines."""

from typing import Final

__all__ = ["LineFramer", "LineTooLong"]

# A line is one record; the largest are tool results with images.
MAX_LINE_BYTES: Final = 64 * 1024 * 1024


class LineTooLong(Exception):
    """A line has more than `MAX_LINE_BYTES`, so the program that writes it is not Claude Code."""


class LineFramer:
    """Splits a stream of bytes into lines, without their newlines."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the lines that they complete, without blank lines.

        Raises:
            LineTooLong: the incomplete line exceeds the limit.
        """
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            self._parts.append(head)
            lines = [line for line in b"".join(self._parts).split(b"\n") if line.strip()]
            self._parts, self._size = [tail], len(tail)
        else:
            lines = []
            self._parts.append(data)
            self._size += len(data)
        if self._size > self._max:
            raise LineTooLong(f"a line of more than {self._max} bytes")
        return lines
