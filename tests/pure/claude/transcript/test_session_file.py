"""The transcript file: the lines Claude Code resumes from, and that nothing of it is left."""

import json
import re
import stat
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.claude.transcript import message_form
from claude_openai.claude.transcript import session_file as transcript
from claude_openai.claude.transcript.message_form import content_block
from claude_openai.claude.transcript.session_file import Notes, Past, transcript_file, transcript_lines
from claude_openai.protocol.claude_code.tool_names import mcp_name
from claude_openai.protocol.turn.blocks import (
    Block,
    Message,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    canonical_arguments,
)
from tests.blocks import result_block

LIMIT_S = 20
CWD = Path("/some/where")
NOTES: Notes = ({"type": "model", "text": None}, {"type": "date", "date": "2026-11-26"})
HISTORY = (
    Message("user", (TextBlock("Hi"), TextBlock("there"))),
    Message("assistant", (TextBlock("Hello. \u2028\x85\U0001f600"),)),
    Message("user", (TextBlock("And?"),)),
)
words = st.text(st.characters(codec="utf-8"), min_size=1)
arguments = st.dictionaries(words, words | st.integers() | st.lists(st.booleans())).map(canonical_arguments)
block: st.SearchStrategy[Block] = (
    st.builds(TextBlock, words)
    | st.builds(ToolUseBlock, words, words, arguments)
    | st.builds(ToolResultBlock, words, st.lists(words, min_size=1).map(tuple))
)
blocks = st.lists(block, min_size=1, max_size=3)
turns = st.builds(Message, st.sampled_from(["user", "assistant"]), blocks.map(tuple))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def parsed(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def messages(history: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages of the file, without what stands between them and before them."""
    entries = parsed(list(transcript_lines("session", Past(tuple(history)), CWD)))
    received = [entry["message"] for entry in entries if entry["type"] != "attachment" and not entry.get("isVirtual")]
    return received[bool(history and history[0].role == "assistant") :]


def without_ids(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in block.items() if key not in ("id", "tool_use_id")} for block in content]


@given(st.lists(turns, max_size=6))
def test_each_turn_is_one_line_of_ascii_with_its_words_unchanged(history: list[Message]) -> None:
    session = str(uuid.uuid4())
    lines = list(transcript_lines(session, Past(tuple(history)), CWD))
    for line, entry in zip(lines, parsed(lines), strict=True):
        assert line.isascii()
        assert line.splitlines(keepends=True) == [line]
        assert (entry["sessionId"], entry["cwd"], entry["isSidechain"]) == (session, str(CWD), False)
        assert entry["type"] == entry.get("message", {"role": "attachment"})["role"]
    for turn, message in zip(history, messages(history), strict=True):
        assert message["role"] == turn.role
        received = [content_block(block) for block in turn.blocks]
        received.sort(key=lambda block: block["type"] != "tool_result")  # as the API wants it
        assert without_ids(message["content"]) == without_ids(received)


def kinds(past: Past) -> list[str]:
    """What the lines of a file are: whose turn, a note, or an answer that is not sent."""
    entries = parsed(list(transcript_lines("session", past, CWD)))
    return ["unsent" if entry.get("isVirtual") else entry["type"] for entry in entries]


def roles(history: Sequence[Message]) -> list[str]:
    found: list[str] = [turn.role for turn in history]
    return ["user", *found] if found[:1] == ["assistant"] else found  # Claude's API wants the user to begin


@given(st.lists(turns, max_size=6))
def test_an_answer_that_is_not_sent_ends_a_past_that_no_answer_ends(history: list[Message]) -> None:
    end = ["unsent"] if not history or history[-1].role == "user" else []
    assert kinds(Past(tuple(history), NOTES)) == ["attachment", "attachment", *roles(history), *end]


@given(st.lists(turns, max_size=6))
def test_without_notes_the_date_is_attached_once_after_the_first_turn_of_the_user(history: list[Message]) -> None:
    expected = roles(history)
    if "user" in expected:
        expected.insert(expected.index("user") + 1, "attachment")
    assert [kind for kind in kinds(Past(tuple(history))) if kind != "unsent"] == expected


def test_notes_are_rendered_as_blanks() -> None:
    entries = parsed(list(transcript_lines("session", Past((), NOTES), CWD)))[:-1]
    assert [entry["attachment"] for entry in entries] == list(NOTES)
    assert {json.dumps(entry["rendered"]) for entry in entries} == {json.dumps([{"content": " "}])}


@given(st.lists(turns, max_size=6))
def test_each_line_is_the_child_of_the_one_before(history: list[Message]) -> None:
    entries = parsed(list(transcript_lines("session", Past(tuple(history)), CWD)))
    ids = [entry["uuid"] for entry in entries]
    assert [entry["parentUuid"] for entry in entries] == [None, *ids][: len(entries)]
    assert len(set(ids)) == len(ids)


def test_an_assistants_line_is_a_whole_message() -> None:
    question, answer, _ = messages(HISTORY)
    assert answer["type"] == "message"
    assert answer["stop_reason"] == "end_turn"
    assert answer["id"].startswith("msg_")
    assert question.keys() == {"role", "content"}


def test_an_assistant_that_called_stopped_to_call() -> None:
    call = ToolUseBlock("a", "read", "{}")
    history = [Message("assistant", (TextBlock("So:"), call)), Message("user", (result_block("a", "42"),))]
    assert [message.get("stop_reason") for message in messages(history)] == ["tool_use", None]


@given(words)
def test_a_text_is_a_text_block(text: str) -> None:
    assert content_block(TextBlock(text)) == {"type": "text", "text": text}


def test_a_call_and_its_result_are_blocks_of_claudes_api() -> None:
    call = ToolUseBlock("call_1", "read", '{"path":"/\\u00e9","x":[1,null]}')
    assert content_block(call) == {
        "type": "tool_use",
        "id": "call_1",
        "name": mcp_name("read"),
        "input": {"path": "/é", "x": [1, None]},
    }
    assert content_block(result_block("call_1", "4", "2\n")) == {
        "type": "tool_result",
        "tool_use_id": "call_1",
        "content": [{"type": "text", "text": "4"}, {"type": "text", "text": "2\n"}],
    }
    assert content_block(result_block("call_1"))["content"] == []


@given(words | st.sampled_from(["call_1", "toolu_01Ab-c", "functions.read:0", "x" * 128, "x" * 129, "a\n"]), words)
def test_ids_are_such_as_claudes_api_takes_and_the_same_for_call_and_result(call_id: str, other: str) -> None:
    used = content_block(ToolUseBlock(call_id, "read", "{}"))["id"]
    assert used == content_block(result_block(call_id))["tool_use_id"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", used)
    if re.fullmatch(r"[A-Za-z0-9_-]{1,128}", call_id):
        assert used == call_id
    if other != call_id:
        assert used != content_block(ToolUseBlock(other, "read", "{}"))["id"]


async def test_the_file_is_private_named_after_its_session_and_gone_afterwards(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with transcript_file(tmp_path, Past(HISTORY), CWD) as path:
            assert path is not None
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            entries = parsed(path.read_text("ascii").splitlines())
            assert {entry["sessionId"] for entry in entries} == {path.stem}
            assert [entry["type"] for entry in entries] == ["user", "attachment", "assistant", "user", "assistant"]
        assert names(tmp_path) == []


async def test_without_a_history_there_is_no_file(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with transcript_file(tmp_path, Past(()), CWD) as path:
            assert path is None
            assert names(tmp_path) == []


async def test_nothing_is_left_when_the_turn_fails_or_is_cancelled(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        with pytest.raises(ZeroDivisionError):
            async with transcript_file(tmp_path, Past(HISTORY), CWD):
                raise ZeroDivisionError
        assert names(tmp_path) == []
        with trio.CancelScope() as scope:
            async with transcript_file(tmp_path, Past(HISTORY), CWD):
                assert len(names(tmp_path)) == 1
                scope.cancel()
                await trio.sleep_forever()
        assert names(tmp_path) == []


async def test_nothing_is_left_when_it_is_cancelled_before_it_is_written(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S), trio.CancelScope() as scope:
        scope.cancel()
        async with transcript_file(tmp_path, Past(HISTORY), CWD):
            raise AssertionError("the block must not begin")
    assert scope.cancelled_caught
    assert names(tmp_path) == []


async def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S), pytest.raises(FileNotFoundError):
        async with transcript_file(tmp_path / "missing", Past(HISTORY), CWD):
            raise AssertionError("the block must not begin")


def tool_turns(*ids: str) -> tuple[Message, Message]:
    """A turn of calls and the turn of their results, each of which says the number of its call."""
    calls = (ToolUseBlock(call_id, "read", "{}") for call_id in ids)
    results = (result_block(call_id, str(number)) for number, call_id in enumerate(ids))
    return Message("assistant", tuple(calls)), Message("user", tuple(results))


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "call_0", "a_2", "a_2_3", "!"]), min_size=1, max_size=3), max_size=4)
)
def test_each_call_has_an_id_of_its_own_and_each_result_the_id_of_its_call(id_lists: list[list[str]]) -> None:
    history = [turn for ids in id_lists for turn in tool_turns(*ids)]
    received = messages(history)
    used = [block["id"] for message in received for block in message["content"] if block["type"] == "tool_use"]
    assert len(used) == len(set(used)) == sum(map(len, id_lists))
    for calling, resulting in zip(received[::2], received[1::2], strict=True):
        ids = [block["id"] for block in calling["content"]]
        given_to = {block["tool_use_id"]: block["content"][0]["text"] for block in resulting["content"]}
        assert given_to == {ident: str(number) for number, ident in enumerate(ids)}
    # Claude Code would lose the results of these.
    assert not [ident for ident in used if re.sub(r"_\d+$", "", ident) in set(used) - {ident}]


def test_equal_ids_are_distinguished_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = message_form.made_id

    def counted(given: str) -> str:
        made.append(given)
        return make(given)

    monkeypatch.setattr(transcript, "made_id", counted)
    calling, _ = messages(tool_turns(*["call_0"] * 1000))
    assert len({block["id"] for block in calling["content"]}) == 1000
    assert len(made) < 1100


def test_ids_that_no_other_has_stay_as_they_are() -> None:
    calling, resulting = messages(tool_turns("toolu_1", "toolu_2"))
    assert [block["id"] for block in calling["content"]] == ["toolu_1", "toolu_2"]
    assert [block["tool_use_id"] for block in resulting["content"]] == ["toolu_1", "toolu_2"]


def test_results_stand_in_the_order_of_their_calls_and_before_words() -> None:
    calls, _ = tool_turns("b", "a")
    results = Message("user", (TextBlock("words"), result_block("a", "A"), result_block("b", "B")))
    content = messages([calls, results])[1]["content"]
    assert [block.get("tool_use_id") for block in content] == ["b", "a", None]


@pytest.mark.parametrize("texts", [(), (" \n",), (" ", "\t")])
def test_empty_result_has_claude_codes_own_text(texts: tuple[str, ...]) -> None:
    calls, _ = tool_turns("a")
    (sent,) = messages([calls, Message("user", (result_block("a", *texts),))])[1]["content"]
    assert sent["content"] == "(mcp__openai__read completed with no output)"


def test_arguments_keep_the_order_of_their_keys_and_are_equal_in_any() -> None:
    one, other = (ToolUseBlock.of("a", "read", keys) for keys in ({"b": 1, "a": 2}, {"a": 2, "b": 1}))
    assert one == other
    assert list(content_block(one)["input"]) == ["b", "a"]
    assert list(content_block(other)["input"]) == ["a", "b"]


@pytest.mark.parametrize("text", ["(no content)", " (no content)\n"])
def test_an_answer_that_claude_code_would_drop_is_in_two_blocks(text: str) -> None:
    content = messages([Message("user", (TextBlock(text),)), Message("assistant", (TextBlock(text),))])
    assert [len(message["content"]) for message in content] == [1, 2]
    assert "".join(block["text"] for block in content[1]["content"]) == text
