"""A history that goes to a process which waits for it already: on the bundled CLI, and at the worst moments."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.claude.transcript.fifo import LateTranscript
from claude_openai.claude.transcript.session_file import Past
from claude_openai.protocol.turn.blocks import Message, TextBlock
from tests.conditions import needs
from tests.real.call import Call, chat
from tests.real.harness import LIMIT_S, Served, needs_claude, read_proc, serving, until, until_one
from tests.real.tool_turns import ask, upstream

pytestmark = [needs_claude, needs("exact-claude"), pytest.mark.long]

WAITING: dict[str, Any] = {"spares": 1, "max_idle_sessions": 0}
LONG = "of many words, " * 100_000 + "and an end"  # more than a pipe holds
TURNS = (Message("user", (TextBlock("Hi"),)), Message("assistant", (TextBlock("Hello."),)))


def history(name: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": f"I am {name}."},
        {"role": "assistant", "content": f"Hello, {name}. {LONG}"},
        {"role": "user", "content": "Who am I?"},
    ]


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def command_line(pid: int) -> str:
    return read_proc(pid, "cmdline").decode(errors="replace")


def waits(pid: int) -> bool:
    """Whether a process has opened a FIFO without a writer."""
    threads = (path.name for path in Path(f"/proc/{pid}/task").glob("*"))
    return b"wait_for_partner" in (read_proc(pid, f"task/{thread}/wchan") for thread in threads)


async def waiting_process(served: Served, model: str = "") -> int:
    """The process that waits for a history, of the model."""

    def waiting() -> list[int]:
        with suppress(OSError):  # one has just ended
            return [pid for pid in served.processes.marked() if waits(pid) and f"--model\0{model}" in command_line(pid)]
        return []

    return await until_one(waiting, "a process waits for a history")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each history went through the FIFO."""
    given: list[bool] = []
    write = LateTranscript._write

    async def spy(late: LateTranscript, text: bytes) -> bool:
        given.append(await write(late, text))
        return given[-1]

    monkeypatch.setattr(LateTranscript, "_write", spy)
    return given


def sent(name: str) -> list[tuple[str, Any]]:
    return [("user", [f"I am {name}."]), ("assistant", [f"Hello, {name}. {LONG}"]), ("user", ["Who am I?"])]


async def test_a_history_goes_to_the_process_that_waits_for_one_word_by_word(
    tmp_path: Path, written: list[bool]
) -> None:
    async with serving(tmp_path, **WAITING) as served:
        for name, model in (("Ada", "opus"), ("Grace", "opus"), ("Mary", "haiku"), ("Jean", "haiku")):
            _, way = await ask(served, history(name), max_tokens=100, model=model)
            assert way == "replayed"
            request = served.api.requests[-1]
            assert upstream(request) == sent(name)
            assert model in request.model
            assert request.body["max_tokens"] == 100
            await waiting_process(served, model)
        assert len(served.api.requests) == 4
        assert written == [True, True]  # the first of each model starts a process of its own


async def test_where_no_process_can_wait_for_a_history_spares_serve_new_conversations(
    tmp_path: Path, sdk_settings: Callable[..., None]
) -> None:
    sdk_settings(late_transcripts=False)
    async with serving(tmp_path, **WAITING) as served:
        await until(lambda: bool(list(served.temporary.glob("*/*.jsonl"))), "a spare is being started")
        _, way = await ask(served, history("Ada")[:1])
        assert (way, upstream(served.api.requests[-1])) == ("new", sent("Ada")[:1])
        _, way = await ask(served, history("Grace"))
        assert (way, upstream(served.api.requests[-1])) == ("replayed", sent("Grace"))


async def test_a_history_that_comes_before_the_process_waits_is_found_in_the_file(
    tmp_path: Path, written: list[bool], sdk_settings: Callable[..., None]
) -> None:
    sdk_settings(refill_delay_s=0.0)
    async with serving(tmp_path, **WAITING) as served:
        await ask(served, history("Ada"))
        while False not in written:  # on a busy machine it may wait before it can be stopped
            pid = await stopped_at_its_start(served)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_on_with_the_file, served, pid)
                _, way = await ask(served, history("Grace"))
            assert (way, upstream(served.api.requests[-1])) == ("replayed", sent("Grace"))


async def stopped_at_its_start(served: Served) -> int:
    """The process that is being started to wait for a history, stopped."""

    def sessions() -> list[str]:
        return [path.stem for path in served.temporary.glob("*/*.fifo")]

    def started() -> list[int]:
        return [pid for pid in served.processes.marked() if any(s in command_line(pid) for s in sessions())]

    pid = await until_one(started, "a process is being started")
    os.kill(pid, signal.SIGSTOP)
    return pid


async def go_on_with_the_file(served: Served, pid: int) -> None:
    def given() -> list[Path]:
        return [path for path in served.temporary.glob("*/*.jsonl") if path.is_file()]

    await until(lambda: bool(given()), "the history was written")
    os.kill(pid, signal.SIGCONT)


async def test_a_process_that_died_while_it_waited_loses_no_history(tmp_path: Path) -> None:
    async with serving(tmp_path, **WAITING) as served:
        await ask(served, history("Ada"))
        os.kill(await waiting_process(served), signal.SIGKILL)
        _, way = await ask(served, history("Grace"))
        assert (way, upstream(served.api.requests[-1])) == ("replayed", sent("Grace"))
        assert len(served.api.requests) == 2


async def test_a_process_that_hangs_while_it_waits_loses_no_history(
    tmp_path: Path, sdk_settings: Callable[..., None]
) -> None:
    sdk_settings(bind_wait_s=0.5)
    async with serving(tmp_path, **WAITING) as served:
        await ask(served, history("Ada"))
        os.kill(await waiting_process(served), signal.SIGSTOP)
        _, way = await ask(served, history("Grace"))
        assert (way, upstream(served.api.requests[-1])) == ("replayed", sent("Grace"))
        assert len(served.api.requests) == 2


def written_files(served: Served) -> list[Path]:
    return [path for path in served.temporary.glob("*/*.jsonl") if path.is_file()]


async def test_disconnect_while_history_is_written_leaves_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, **WAITING) as served:
        await ask(served, history("Ada"))
        await until(lambda: not written_files(served), "the history of the first turn is gone")
        os.kill(await waiting_process(served), signal.SIGSTOP)
        async with Call.open(served.url, chat(history("Grace"))):
            await until(lambda: bool(written_files(served)), "the history is being written")
        await until(lambda: served.log_text().count('"run.end"') == 2, "the turn has ended")
        assert not written_files(served)


async def test_files_are_there_only_as_long_as_they_are_needed(tmp_path: Path) -> None:
    late = LateTranscript(tmp_path)
    with late.waiting():
        assert late.path.is_fifo()
        assert late.path.stat().st_mode & 0o777 == 0o600
        async with late.given(Past(TURNS), tmp_path):  # without a reader
            assert late.path.read_text().splitlines()[1:]
            assert late.path.stat().st_mode & 0o777 == 0o600
        assert not late.path.exists()
    assert names(tmp_path) == []


async def test_who_waits_gets_all_of_it_and_then_finds_the_same_in_the_file(tmp_path: Path) -> None:
    late = LateTranscript(tmp_path)
    turns = (*TURNS, Message("user", (TextBlock(LONG),)))
    with late.waiting(), trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            got: list[str] = []
            nursery.start_soon(read_into, late.path, got)
            await until(lambda: waits(os.getpid()), "the reader waits")
            async with late.given(Past(turns), tmp_path):
                await until(lambda: bool(got), "all was read")
                assert got == [late.path.read_text()]
                assert len(got[0]) > len(LONG)


async def read_into(path: Path, got: list[str]) -> None:
    got.append(await trio.to_thread.run_sync(path.read_text))
