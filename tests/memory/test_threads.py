"""No thread can be started: an error of the system like others, for as long as it lasts."""

import errno
import importlib
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.commands import serve as serve_command
from claude_openai.commands.instance.lock import Claim
from claude_openai.logs.log import NULL_LOG, Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.preload import preload
from claude_openai.threads import NoThreadError, run_in_thread
from tests.memory.harness import serving


class Threads:
    """In place of `trio.to_thread.run_sync`: refuses some calls, and makes the others at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refusals: float) -> None:
        self.refusals = refusals
        monkeypatch.setattr(trio.to_thread, "run_sync", self._run_sync)

    async def _run_sync(self, function: Any, *args: Any, **_: object) -> Any:
        await trio.lowlevel.checkpoint()
        if self.refusals > 0:
            self.refusals -= 1
            raise RuntimeError("can't start new thread")
        return function(*args)


async def test_a_refused_thread_is_an_oserror_and_other_errors_are_what_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Threads(monkeypatch, 1)
    with pytest.raises(NoThreadError) as caught:
        await run_in_thread(len, "abc")
    assert caught.value.errno == errno.EAGAIN
    assert await run_in_thread(len, "abc") == 3

    def broken() -> None:
        raise RuntimeError("another one")

    with pytest.raises(RuntimeError, match="another one"):
        await run_in_thread(broken)


async def test_request_without_a_thread_gets_an_error_and_the_next_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with serving(output_dir=tmp_path, api_key="key") as server:
        threads = Threads(monkeypatch, 1)
        answer = await server.get("/control/runs", authorization="Bearer key")
        error = answer.error()
        assert (answer.status, error["type"], error["code"]) == (503, "service_unavailable_error", "out_of_resources")
        assert "ulimit -u" in error["message"]
        assert answer.headers["retry-after"] == "5"
        assert (await server.get("/control/runs", authorization="Bearer key")).status == 200
        assert threads.refusals == 0


async def test_what_is_loaded_ahead_waits_for_what_the_system_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[bytes] = []
    Threads(monkeypatch, 3)
    failures = [OSError(errno.EMFILE, "Too many open files")] * 2
    real = importlib.import_module

    def import_module(name: str) -> object:
        if failures:
            raise failures.pop()
        return real(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    await preload((), Log(Level.WARNING, lines.append, Redactor()))
    assert trio.current_time() == 5
    assert [b"no more processes" in line for line in lines] == [True] * 3 + [False] * 2
    assert all(b"Too many open files" in line for line in lines[3:])


async def test_a_module_that_is_missing_is_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    Threads(monkeypatch, 0)
    with pytest.raises(ImportError, match="no_such_module"):
        await preload(("claude_openai.no_such_module",), NULL_LOG)


async def test_the_files_of_the_server_are_kept_as_soon_as_there_are_threads_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[float] = []

    class Kept(Claim):
        def __init__(self) -> None:
            pass

        def keep(self) -> None:
            kept.append(trio.current_time())

    Threads(monkeypatch, 3)
    with trio.move_on_after(11):
        await serve_command._keep_files(Kept())
    assert kept == [8, 10]
