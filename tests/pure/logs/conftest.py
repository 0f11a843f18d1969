"""The log's thread, as the tests of this folder wait for it."""

import os
import queue
import threading

import pytest


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> "queue.SimpleQueue[bytes]":
    """What the log's thread has written, batch by batch; reading from it waits for the thread."""
    done: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    write = os.write

    def reporting(fd: int, data: memoryview) -> int:
        size = write(fd, data)
        if threading.current_thread().name == "log-writer":
            done.put(bytes(data))
        return size

    monkeypatch.setattr(os, "write", reporting)
    return done
