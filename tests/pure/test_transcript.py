"""The transcript file: the lines Claude Code resumes from, and that nothing of it is left."""

import json
import stat
import uuid
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.claude.transcript import transcript_file, transcript_lines
from claude_openai.protocol.content import TextBlock
from claude_openai.protocol.history import Turn

LIMIT_S = 20
CWD = Path("/some/where")
HISTORY = (
    Turn("user", (TextBlock("Hi"), TextBlock("there"))),
    Turn("assistant", (TextBlock("Hello. \u2028\x85\U0001f600"),)),
    Turn("user", (TextBlock("And?"),)),
)
blocks = st.lists(st.builds(TextBlock, st.text(st.characters(codec="utf-8"), min_size=1)), min_size=1, max_size=3)
turns = st.builds(Turn, st.sampled_from(["user", "assistant"]), blocks.map(tuple))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def parsed(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


@given(st.lists(turns, max_size=6))
def test_each_turn_is_one_line_of_ascii_with_its_words_unchanged(history: list[Turn]) -> None:
    session = str(uuid.uuid4())
    lines = list(transcript_lines(session, history, CWD))
    assert len(lines) == len(history)
    for line, turn, entry in zip(lines, history, parsed(lines), strict=True):
        assert line.isascii()
        assert line.splitlines(keepends=True) == [line]
        assert entry["type"] == entry["message"]["role"] == turn.role
        texts = [{"type": "text", "text": block.text} for block in turn.blocks]
        assert entry["message"]["content"] == texts
        assert (entry["sessionId"], entry["cwd"], entry["isSidechain"]) == (session, str(CWD), False)


@given(st.lists(turns, max_size=6))
def test_each_line_is_the_child_of_the_one_before(history: list[Turn]) -> None:
    entries = parsed(list(transcript_lines("session", history, CWD)))
    ids = [entry["uuid"] for entry in entries]
    assert [entry["parentUuid"] for entry in entries] == [None, *ids][: len(entries)]
    assert len(set(ids)) == len(ids)


def test_an_assistants_line_is_a_whole_message() -> None:
    _, answer, _ = parsed(list(transcript_lines("session", HISTORY, CWD)))
    assert answer["message"]["type"] == "message"
    assert answer["message"]["stop_reason"] == "end_turn"
    assert answer["message"]["id"].startswith("msg_")


async def test_the_file_is_private_named_after_its_session_and_gone_afterwards(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with transcript_file(tmp_path, HISTORY, CWD) as path:
            assert path is not None
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            entries = parsed(path.read_text("ascii").splitlines())
            assert {entry["sessionId"] for entry in entries} == {path.stem}
            assert len(entries) == 3
        assert names(tmp_path) == []


async def test_without_a_history_there_is_no_file(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with transcript_file(tmp_path, (), CWD) as path:
            assert path is None
            assert names(tmp_path) == []


async def test_nothing_is_left_when_the_turn_fails_or_is_cancelled(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        with pytest.raises(ZeroDivisionError):
            async with transcript_file(tmp_path, HISTORY, CWD):
                raise ZeroDivisionError
        assert names(tmp_path) == []
        with trio.CancelScope() as scope:
            async with transcript_file(tmp_path, HISTORY, CWD):
                assert len(names(tmp_path)) == 1
                scope.cancel()
                await trio.sleep_forever()
        assert names(tmp_path) == []


async def test_nothing_is_left_when_it_is_cancelled_before_it_is_written(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S), trio.CancelScope() as scope:
        scope.cancel()
        async with transcript_file(tmp_path, HISTORY, CWD):
            raise AssertionError("the block must not begin")
    assert scope.cancelled_caught
    assert names(tmp_path) == []


async def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S), pytest.raises(FileNotFoundError):
        async with transcript_file(tmp_path / "missing", HISTORY, CWD):
            raise AssertionError("the block must not begin")
