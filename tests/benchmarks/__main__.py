"""What is claimed to be fast, measured: `python -m tests.benchmarks`, or with the name of a part that part.

Each comparison is made in one run, the two sides in turn, as the ratio of their medians: the machine's own speed
cancels out. Not a test: it prints, and exits 1 if a bound does not hold.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from claude_openai import Config
from claude_openai.claude.process.command_line import claude_argv, claude_environment, stand_in_environment
from claude_openai.claude.process.program import find_claude

from .apis import apis
from .balancer import balancer
from .capacity import capacity
from .client import Timing, stream
from .conversations import conversations
from .harness import harness
from .process_figures import family, memory_mb, proportional_mb
from .report import failures, report, server
from .servers import WORD
from .shared_store import shared_store
from .watching import watching

RUNS = 5
FAST_DELTAS = 100_000
REAL_DELTAS = 50_000
STREAMS = 500
CONVERSATIONS = 50
FIRST_CONVERSATIONS = 10
MAY_GROW_MB = 5
# A process started ahead needs about half a second before it can be taken.
SPARE_WAIT_S = 2.5


def tool(name: str) -> dict[str, Any]:
    """A tool as agents have them: a page of words, and half a dozen arguments."""
    texts = {f"text_{n}": {"type": "string", "description": "What to look for. " * 5} for n in range(3)}
    numbers = {f"number_{n}": {"type": "integer", "minimum": 0, "description": "How many."} for n in range(2)}
    several = {"several": {"type": "array", "items": {"type": "object", "properties": dict(texts)}}}
    parameters = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {**texts, **numbers, **several},
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": "A page. " * 200, "parameters": parameters}}


TOOLS = [tool(name) for name in ("look", *(f"tool_{n}" for n in range(14)))]


def median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(RUNS))


def ready() -> None:
    """From the command to the ready line, and what the process weighs then and when the SDK is loaded."""
    times, weights = [], []
    for _ in range(RUNS):
        command = [sys.executable, "-m", "claude_openai", "--port", "0", "--no-log"]
        started = time.perf_counter()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            process.stderr.readline()
            times.append(time.perf_counter() - started)
            time.sleep(1.5)  # the SDK is loaded beside the listening server
            weights.append(memory_mb(process.pid))
            process.terminate()
    report("start to ready, median", f"{statistics.median(times):.2f} s", holds=statistics.median(times) < 1.0)
    report("resident memory of the server alone", f"{max(weights):.0f} MB", holds=max(weights) < 100)


def raw_first_delta(upstream: str, folder: Path) -> float:
    """The CLI without the server, started as the server starts it, to its first text delta."""
    env = claude_environment(os.environ, extra=stand_in_environment(upstream, folder), cwd=folder)
    line = {"type": "user", "message": {"role": "user", "content": "say 20"}, "client_composed": True}
    started = time.perf_counter()
    with subprocess.Popen(
        claude_argv(find_claude(None), model="sonnet"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
        cwd=folder,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()
        for record in process.stdout:
            if b"text_delta" in record:
                break
        taken = time.perf_counter() - started
        process.kill()
    return taken


def first_delta(upstream: str, folder: Path) -> None:
    """Each way that a conversation can take, against the CLI without the server, in turn."""
    user, answer = {"role": "user", "content": "say 2"}, {"role": "assistant", "content": WORD * 2}
    before = [{"role": role, "content": "before"} for _ in range(5) for role in ("user", "assistant")]
    keys = ("raw", "spare", "tools", "follow", "result", "results", "replayed", "late", "cli")
    found: dict[str, list[float]] = {key: [] for key in keys}
    with server("real", upstream, str(folder)) as (url, _), server("real", upstream, str(folder), "cli") as (cli, _):
        stream(url, "say 2")
        stream(url, "say 2", history=before)
        stream(cli, "say 2")
        for number in range(RUNS):
            found["raw"].append(raw_first_delta(upstream, folder))
            found["cli"].append(stream(cli, "say 2").first_s)
            time.sleep(SPARE_WAIT_S)
            found["spare"].append(stream(url, "say 2").first_s)
            time.sleep(SPARE_WAIT_S)
            found["follow"].append(stream(url, "say 2", history=[user, answer]).first_s)
            time.sleep(SPARE_WAIT_S)
            found["tools"].append(stream(url, f"say 4{number}", tools=TOOLS).first_s)
            time.sleep(SPARE_WAIT_S)
            for key, tools in (("result", TOOLS[:1]), ("results", TOOLS)):
                called = stream(url, f"call {number}", tools=tools)
                time.sleep(SPARE_WAIT_S)
                found[key].append(stream(url, f"call {number}", tools=tools, results=results_of(called)).first_s)
            time.sleep(SPARE_WAIT_S)
            found["late"].append(stream(url, f"say 3{number}", history=before).first_s)
            found["replayed"].append(stream(url, f"say 2{number}", history=before).first_s)
    base = statistics.median(found["raw"])
    report("raw CLI, time to first delta", f"{base * 1000:.0f} ms")
    for name, key, bound in (
        ("fresh conversation, a spare waiting", "spare", 0.35),
        (f"the same, with {len(TOOLS)} tools", "tools", 0.5),
        ("follow-up in a live conversation", "follow", 0.1),
        ("the result of a tool, to the turn that waits for it", "result", 0.1),
        (f"the same, with {len(TOOLS)} tools", "results", 0.15),
        ("a new history of ten messages, a spare waiting", "late", 0.5),
        ("the same, none waiting", "replayed", 2.0),
        ("CLI backend, fresh conversation", "cli", 1.5),
    ):
        taken = statistics.median(found[key])
        report(name, f"{taken * 1000:.0f} ms, {taken / base:.2f} of the raw CLI", holds=taken / base <= bound)


def memory_of_the_whole(upstream: str, folder: Path) -> None:
    """After many conversations, every third of them left with calls, with the settings that a user has by default."""
    look = {"type": "function", "function": {"name": "look"}}
    with server("real", upstream, str(folder)) as (url, pid):
        for number in range(1, CONVERSATIONS + 1):
            stream(url, f"call {number}" if number % 3 == 0 else f"say {number}", tools=[look])
            if number == FIRST_CONVERSATIONS:
                early = proportional_mb(pid)
        time.sleep(2 * SPARE_WAIT_S)
        everyone = family(pid)
        weights = [proportional_mb(one) for one in everyone]
    claudes = (len(everyone) - 2) // 2  # without the server and its guardian; each has a supervisor
    kept = Config().max_idle_sessions + 2 * Config().spares
    text = f"server {weights[0]:.0f} MB, {claudes} claude processes, {sum(weights):.0f} MB in all (PSS)"
    report(f"memory after {CONVERSATIONS} conversations", text, holds=claudes <= kept)
    grown = weights[0] - early
    text = f"{early:.1f} MB, {grown:+.1f} MB"
    report(f"the server after {FIRST_CONVERSATIONS} of them, and since", text, holds=grown < MAY_GROW_MB)


def results_of(called: Timing) -> list[dict[str, Any]]:
    """The client's next messages after a call."""
    calls = [{"id": called.call_id, "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    said = {"role": "assistant", "content": None, "tool_calls": calls}
    return [said, {"role": "tool", "tool_call_id": called.call_id, "content": "seen"}]


def rates(upstream: str, folder: Path) -> None:
    """Deltas a second, the three in turn; the bare app sends the same bytes, a chunk a write."""

    def rate(measured: Timing, expected: int) -> float:
        if measured.deltas != expected:
            raise RuntimeError(f"{measured.deltas} of {expected} deltas came")
        return measured.deltas / measured.total_s

    with (
        server("bare") as (bare, _),
        server("scripted") as (ours, _),
        server("scripted", str(folder / "runs")) as (captured, _),
        server("real", upstream, str(folder)) as (real, _),
    ):
        stream(ours, "say 10")
        stream(captured, "say 10")
        stream(real, "say 10")
        found: dict[str, list[float]] = {"bare": [], "ours": [], "captured": [], "burst": [], "real": []}
        for _ in range(RUNS):
            path = f"/v1/chat/completions/{FAST_DELTAS}"
            found["bare"].append(rate(stream(bare, "", path=path), FAST_DELTAS))
            found["ours"].append(rate(stream(ours, f"say {FAST_DELTAS}"), FAST_DELTAS))
            found["captured"].append(rate(stream(captured, f"say {FAST_DELTAS}"), FAST_DELTAS))
            found["burst"].append(rate(stream(ours, f"burst {FAST_DELTAS}"), FAST_DELTAS))
            measured = stream(real, f"say {REAL_DELTAS}")
            streaming = Timing(0, measured.total_s - measured.first_s, measured.deltas, "")
            found["real"].append(rate(streaming, REAL_DELTAS))
    base = statistics.median(found["bare"])
    report("bare quart-trio app, deltas a second", f"{base:,.0f}")
    for name, key, bound in (
        ("scripted backend, deltas one by one", "ours", 0.7),
        ("the same, each run captured in a file", "captured", 0.7),
        ("scripted backend, deltas in bursts", "burst", 0.7),
        ("real CLI, end to end", "real", 0.5),
    ):
        value = statistics.median(found[key])
        report(f"{name}, a second", f"{value:,.0f}, {value / base:.2f} of bare", holds=value / base >= bound)


def many_streams() -> None:
    with server("scripted") as (url, pid):
        stream(url, "say 10")
        before, weights, done = memory_mb(pid), [], []
        threads = [threading.Thread(target=lambda: done.append(stream(url, "slow 5").deltas)) for _ in range(STREAMS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            weights.append(memory_mb(pid))
            time.sleep(0.2)
    complete = done.count(5)
    each_kb = (max(weights) - before) * 1024 / STREAMS
    report(f"{STREAMS} slow streams at once", f"{complete} complete", holds=complete == STREAMS)
    report("memory for each of them", f"{each_kb:.0f} kB")


def main() -> int:
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, medians of {RUNS}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], None]] = {
            "conversations": partial(conversations, folder),
            "harness": harness,
            "watching": watching,
            "apis": apis,
            "balancer": partial(balancer, folder),
            "shared store": partial(shared_store, folder),
            "capacity": partial(capacity, folder),
            "everything else": partial(everything_else, folder),
        }
        for part in sys.argv[1:] or parts:
            parts[part]()
    return 1 if failures else 0


def everything_else(folder: Path) -> None:
    ready()
    with server("stand_in") as (upstream, _):
        first_delta(upstream, folder)
        rates(upstream, folder)
        memory_of_the_whole(upstream, folder)
    many_streams()


if __name__ == "__main__":
    sys.exit(main())
