"""The lines of a cassette: a header, then one JSON object for each turn, in the order in which the turns ended.

    {"cassette":1,"program":"claude-openai 0.1.0"}
    {"request":{"path":"/v1/chat/completions","body":{...}},"answer":{"content":[{"type":"text","text":"Hi"}],...}}

Reading is strict: a line that this program would not have written is an error that names the line. `schema` describes
the lines.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from claude_openai._version import __version__
from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.entry import (
    Answer,
    Block,
    Call,
    Cancelled,
    CassetteError,
    Completed,
    End,
    Entry,
    Failed,
    Passage,
)
from claude_openai.cassettes.schema import FORMAT, HEADER, TURN, problem_of
from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.wire.json_body import load_finite

__all__ = ["header_line", "line_of", "read_lines"]

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def header_line() -> bytes:
    return _line({"cassette": FORMAT, "program": f"claude-openai {__version__}"})


def line_of(entry: Entry) -> bytes:
    """Return the line of a turn, in UTF-8, with its newline."""
    request = {"path": entry.request.path, "body": entry.request.body}
    return _line({"request": request, "answer": _answer_object(entry.answer)})


def read_lines(name: str, data: bytes) -> tuple[Entry, ...]:
    """Read a whole cassette.

    Args:
        name: name of the file, for errors.
        data: its content.

    Raises:
        CassetteError: it is not a cassette, or is damaged.
    """
    if not data:
        raise CassetteError(f"not a cassette: {name!r} is empty")
    *lines, rest = data.split(b"\n")
    first = _load(lines[0] if lines else rest)
    if not isinstance(first, dict) or "cassette" not in first:
        raise CassetteError(f"not a cassette: {name!r}; expected a first line like {header_line().decode().strip()}")
    if first["cassette"] != FORMAT or isinstance(first["cassette"], bool):
        raise CassetteError(
            f"{name}: line 1: format {first['cassette']!r}; expected {FORMAT}",
            hint=f"it is from {first.get('program')}",
        )
    if problem := problem_of(first, HEADER):
        raise CassetteError(f"{name}: line 1: {problem}")
    if rest:
        raise CassetteError(f"{name}: line {len(lines) + 1}: the line is incomplete", hint="remove it")
    return tuple(_read_turn(name, number, line) for number, line in enumerate(lines[1:], start=2))


def _line(record: Mapping[str, Any]) -> bytes:
    text = f"{_encode(record)}\n"
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return f"{json.dumps(record, separators=(',', ':'), allow_nan=False)}\n".encode("ascii")


def _load(line: bytes) -> Any:
    try:
        return load_finite(line.decode())
    except (ValueError, RecursionError):
        return None


def _read_turn(name: str, number: int, line: bytes) -> Entry:
    loaded = _load(line)
    if loaded is None:
        raise CassetteError(f"{name}: line {number}: not JSON in UTF-8, or nested too deeply: {line[:40]!r}")
    if problem := problem_of(loaded, TURN):
        raise CassetteError(f"{name}: line {number}: {problem}")
    request, answer = loaded["request"], loaded["answer"]
    return Entry(ClientRequest(request["path"], request["body"]), _read_answer(answer), number)


def _answer_object(answer: Answer) -> dict[str, Any]:
    return {
        **({"model": answer.model} if answer.model else {}),
        "content": [_block_object(block) for block in answer.content],
        **_end_object(answer.end),
        **_time("ms", answer.ms),
    }


def _block_object(block: Block) -> dict[str, Any]:
    if isinstance(block, Call):
        call = {"type": "tool_call", "id": block.id, "name": block.name, "arguments": block.arguments}
        return call | _time("ms", block.ms)
    deltas = {"deltas": block.deltas} if block.deltas else {}
    return {"type": block.type, "text": block.text, **deltas}


def _end_object(end: End) -> dict[str, Any]:
    match end:
        case Completed(finish_reason, usage):
            return {"finish_reason": finish_reason, "usage": asdict(usage)}
        case Failed():
            return {"error": asdict(end)}
        case Cancelled():
            return {"cancelled": True}


def _time(name: str, ms: int | None) -> dict[str, int]:
    return {} if ms is None else {name: ms}


def _read_answer(answer: Mapping[str, Any]) -> Answer:
    content = tuple(map(_read_block, answer["content"]))
    return Answer(content, _read_end(answer), answer.get("model", ""), answer.get("ms"))


def _read_block(block: Mapping[str, Any]) -> Block:
    if block["type"] == "tool_call":
        return Call(block["id"], block["name"], block["arguments"], block.get("ms"))
    return Passage(block["type"], block["text"], tuple((ms, chars) for ms, chars in block.get("deltas", ())))


def _read_end(answer: Mapping[str, Any]) -> End:
    if "error" in answer:
        return Failed(**answer["error"])
    return Cancelled() if "cancelled" in answer else Completed(answer["finish_reason"], Usage(**answer["usage"]))
