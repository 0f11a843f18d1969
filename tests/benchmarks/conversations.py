"""The ways of a turn in long conversations, with OpenCode's own prompt and tools, against the raw CLI.

Each round asks the raw CLI and the server the same, in turn: the same history in a new conversation, and then turns
that go on from it. A message was edited, or another answer is wanted, by the same request with the last message
changed, or not.
What the server adds is the time of a follow-up through it, less the time of the same turn of a raw CLI that
is open. A raw CLI that was started before, and gets the history with the question, shows what of a replay is its own.
"""

import json
import os
import re
import socket
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import urlopen

from claude_openai import Config
from claude_openai.protocol.openai.chat.request import parse_chat_request

from .answer import Answer
from .raw import RawClaude
from .report import cpu_ms, report, server

__all__ = ["conversations"]

OPENCODE: Final = Path(__file__).parent.parent / "fixtures" / "opencode-requests.json"
ROUNDS: Final = 5
# Turns that go on from a history, in each round.
CYCLES: Final = 3
# Messages, and characters of a result in them. The last is there for the slope by size; four megabytes are too long for
# Claude Code.
SIZES: Final = ((20, 2500), (200, 2500), (1000, 2500), (1000, 10_000))
MAX_RATIO: Final = 0.35
MAX_MORE_MS: Final = 15.0
MAX_SHARE_MS: Final = 3.0
MAX_SHARE_MS_PER_MB: Final = 15.0
# New conversations with the same tools, after which a spare is bound to them.
BEFORE_BOUND: Final = 2
# A process started ahead needs about half a second before it can be taken, on a machine that does nothing else.
SPARE_WAIT_S: Final = 2.5
SPARE_DEADLINE_S: Final = 60.0
READ_BYTES: Final = 1 << 20

Message = dict[str, Any]


@dataclass(slots=True)
class Client:
    """A client that costs little: what it sends is encoded before the clock starts, and read after it has stopped.

    Attributes:
        url: base URL of the server.
        pid: of the server.
        fields: of OpenCode's request, but for the messages.
        messages: of the conversation, the system prompt first.
    """

    url: str
    pid: int
    fields: dict[str, Any]
    messages: list[Message] = field(default_factory=list)

    def body(self, messages: Sequence[Message]) -> bytes:
        return json.dumps({**self.fields, "messages": messages}, ensure_ascii=False, separators=(",", ":")).encode()

    def say(self, text: str, way: str, *, back: int = 0) -> Answer:
        """Send a message after all but the last so many, and keep the answer.

        Args:
            text: of the message.
            way: that the conversation has to go.
            back: how many messages are taken back.
        """
        del self.messages[len(self.messages) - back :]
        self.messages.append({"role": "user", "content": text})
        body, before = self.body(self.messages), cpu_ms(self.pid)
        answer = send(self.url, body)
        answer = replace(answer, cpu_ms=cpu_ms(self.pid) - before)
        if answer.way != way:
            raise RuntimeError(f"the conversation was {answer.way}, and not {way}")
        self.messages.append({"role": "assistant", "content": answer.text})
        return answer


def send(url: str, body: bytes) -> Answer:
    """Send a chat completion that streams."""
    parts = urlsplit(url)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    request = head.encode() + body
    first, data = 0.0, b""
    asked = time.perf_counter()
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        connection.sendall(request)
        while chunk := connection.recv(READ_BYTES):
            data += chunk
            if not first and b'"delta":{"content":' in data:
                first = time.perf_counter()
    if not first or b"data: [DONE]" not in data:
        raise RuntimeError(f"no whole answer: {data.decode()}")
    headers = data.partition(b"\r\n\r\n")[0].decode().lower()
    way = headers.partition("x-claude-openai-conversation: ")[2].partition("\r\n")[0]
    return Answer(asked, first, "".join(_texts(data)), way)


def _texts(data: bytes) -> Iterator[str]:
    for line in data.decode().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                yield choice["delta"].get("content") or ""


def opencode() -> tuple[Message, dict[str, Any]]:
    """OpenCode's system message, and the other fields of its request."""
    body = json.loads(OPENCODE.read_text("utf-8"))["main_request"]["body"]
    system = body.pop("messages")[0]
    return system, {**body, "model": "claude"}


def history(messages: int, chars: int, mark: str) -> list[Message]:
    """Messages of an agent at work: a question, a call, its result of so many characters, and words.

    Args:
        messages: how many; by fours.
        chars: of each result.
        mark: stands in the first, so that no two histories are the same.
    """
    line = '    if value["größe"] != self._sizes[index]:  # see \\"issue\\" {0}\n'
    said: list[Message] = []
    for number in range(messages // 4):
        call, arguments = f"call_{number}", {"filePath": f"/home/user/project/{number}.py"}
        function = {"name": "read", "arguments": json.dumps(arguments)}
        result = "".join(line.format(n) for n in range(chars // len(line)))
        said += (
            {"role": "user", "content": f"{mark}, {number}: what does this file do, and what is wrong with it?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": call, "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": call, "content": f"<content>\n{result}</content>"},
            {"role": "assistant", "content": "It compares sizes, and takes all that differ for faults. " * 5},
        )
    return said


def wait_for_spares(url: str, count: int = 1) -> None:
    """Return when so many processes that were started ahead wait."""
    until = time.monotonic() + SPARE_DEADLINE_S
    time.sleep(SPARE_WAIT_S)
    while True:
        with urlopen(f"{url}/metrics") as response:  # noqa: S310 - a URL of ours
            found = re.search(rb"^claude_openai_spares (\d+)", response.read(), re.MULTILINE)
            if found and int(found[1]) >= count:
                break
        if time.monotonic() > until:
            raise RuntimeError(f"not {count} spares within {SPARE_DEADLINE_S:g} s")
        time.sleep(SPARE_WAIT_S)


@dataclass(slots=True)
class Measured:
    """The answers by what was asked, and the size of a follow-up."""

    answers: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    megabytes: float = 0.0

    def median(self, key: str) -> float:
        return statistics.median(answer.ms for answer in self.answers[key])

    def best(self, key: str) -> float:
        return min(answer.ms for answer in self.answers[key])

    def shares(self) -> list[tuple[float, float]]:
        """What each follow-up took longer than that of the raw CLI before it, there and back, in ms."""
        pairs = zip(self.answers["follow-up"], self.answers["raw follow-up"], strict=True)
        return [(ours.up_ms - raw.up_ms, ours.down_ms - raw.down_ms) for ours, raw in pairs]


def conversations(folder: Path) -> None:
    """Measure them all, print what was found, and whether it holds."""
    load = os.getloadavg()[0]
    with server("clock") as (upstream, _), server("real", upstream, str(folder)) as (url, pid):
        system, fields = opencode()
        client = Client(url, pid, fields, [system])
        send(url, client.body([{"role": "user", "content": "first"}]))  # its notes are learnt
        fresh, again = Measured(), Measured()
        for number in range(BEFORE_BOUND):
            Client(url, pid, fields, [system]).say(f"before {number}", "new")
        found = [Measured() for _ in SIZES]
        for number in range(ROUNDS):
            other = {**system, "content": f"{system['content']}\n{number}"}
            _fresh(fresh, f"fresh {number}", replace(client, messages=[other]), upstream, folder, spares=1)
            _fresh(again, f"again {number}", replace(client, messages=[system]), upstream, folder, spares=2)
            for (messages, chars), measured in zip(SIZES, found, strict=True):
                before = history(messages, chars, f"round {number}")
                _round(measured, replace(client, messages=[system, *before]), upstream, folder)
    print(f"with OpenCode's prompt and tools: medians (minima), load {load:.1f} to {os.getloadavg()[0]:.1f}")
    report("raw CLI, fresh", _ms(fresh, "raw"))
    _report_ratio("fresh, a spare waiting", fresh, "fresh")
    report("raw CLI, fresh", _ms(again, "raw"))
    _report_ratio("fresh, with the tools of the last, a bound spare waiting", again, "fresh")
    for (messages, _), measured in zip(SIZES, found, strict=True):
        _report(f"{messages:,} messages, {measured.megabytes:.2f} MB", measured)
    (small, small_ms), (large, large_ms) = [(one.megabytes, _share_ms(one)) for one in (found[0], found[-1])]
    slope = (large_ms - small_ms) / (large - small)
    report("the server's own share of a follow-up, by size", f"{slope:.1f} ms a megabyte")


def _fresh(measured: Measured, mark: str, client: Client, upstream: str, folder: Path, *, spares: int) -> None:
    request = parse_chat_request(client.body([*client.messages, {"role": "user", "content": mark}]), Config().catalog())
    with RawClaude.asked(request, upstream, folder) as raw:
        measured.answers["raw"].append(raw.answer)
    wait_for_spares(client.url, spares)
    measured.answers["fresh"].append(client.say(mark, "new"))


def _round(measured: Measured, client: Client, upstream: str, folder: Path) -> None:
    question = {"role": "user", "content": "question"}
    request = parse_chat_request(client.body([*client.messages, question]), Config().catalog())
    answers = measured.answers
    with RawClaude.asked(request, upstream, folder, waits_s=SPARE_WAIT_S) as raw:
        answers["raw, waiting"].append(raw.answer)
    with RawClaude.asked(request, upstream, folder) as raw:
        answers["raw"].append(raw.answer)
        wait_for_spares(client.url)
        answers["replay"].append(client.say("question", "replayed"))
        for cycle in range(CYCLES):
            answers["raw follow-up"].append(raw.ask(f"follow-up {cycle}"))
            answers["follow-up"].append(client.say(f"follow-up {cycle}", "continued"))
            answers["regenerate"].append(client.say(f"follow-up {cycle}", "rewound", back=2))
            answers["edit"].append(client.say(f"question, edited {cycle}", "rewound", back=4))
    measured.megabytes = len(client.body(client.messages)) / 1e6


def _report(size: str, measured: Measured) -> None:
    report(f"{size}: raw CLI, resumed", _ms(measured, "raw"))
    floor = measured.median("raw, waiting") / measured.median("raw")
    report(f"{size}: raw CLI, waiting for the history", f"{_ms(measured, 'raw, waiting')}, {floor:.2f} of the raw CLI")
    _report_ratio(f"{size}: replay, a spare waiting", measured, "replay")
    report(f"{size}: follow-up of the raw CLI", _ms(measured, "raw follow-up"))
    report(f"{size}: follow-up", _ms(measured, "follow-up"))
    for key in ("regenerate", "edit"):
        more = measured.median(key) - measured.median("follow-up")
        text = f"{_ms(measured, key)}, {more:+.1f} ms to a follow-up"
        report(f"{size}: {key}", text, holds=more <= MAX_MORE_MS)
    up, down = (statistics.median(way) for way in zip(*measured.shares(), strict=True))
    share, bound = _share_ms(measured), MAX_SHARE_MS + MAX_SHARE_MS_PER_MB * measured.megabytes
    text = f"{share:.1f} ms ({up:.1f} there, {down:.1f} back), at most {bound:.1f}"
    report(f"{size}: the server's own share of it", text, holds=share <= bound)
    computed = [answer.cpu_ms for answer in measured.answers["follow-up"]]
    report(f"{size}: what the server computed", f"{statistics.median(computed):.1f} ms ({min(computed):.1f})")


def _share_ms(measured: Measured) -> float:
    return statistics.median(sum(both) for both in measured.shares())


def _report_ratio(name: str, measured: Measured, key: str) -> None:
    ratio = measured.median(key) / measured.median("raw")
    best = measured.best(key) / measured.best("raw")
    report(name, f"{_ms(measured, key)}, {ratio:.2f} ({best:.2f}) of the raw CLI", holds=ratio <= MAX_RATIO)


def _ms(measured: Measured, key: str) -> str:
    return f"{measured.median(key):.0f} ms ({measured.best(key):.0f})"
