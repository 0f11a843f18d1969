"""The whole server for a test: the bundled CLI and the Agent SDK, and a stand-in for Claude's API, all on loopback.

`serving` runs the server inside the test's own trio program. The processes that a server starts are found without
asking the server. The client is in `call`.
"""

import copy
import itertools
import json
import os
import re
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
import trio

from claude_openai import Config, serve
from claude_openai.claude import priming
from claude_openai.claude.priming import Primer, today
from claude_openai.claude.process.command_line import stand_in_environment
from claude_openai.claude.process.known_models import KnownModels
from claude_openai.claude.transcript.session_file import Notes
from claude_openai.config import BACKENDS
from claude_openai.logs.log import NULL_LOG
from claude_openai.testing import Answer, MessagesApi, RecordedRequest, Reply, Script
from tests.conditions import lacks, needs
from tests.real.call import Call
from tests.real.fake_cli import FAKE_CLAUDE
from tests.real.left_over import reap_adopted

__all__ = [
    "LIMIT_S",
    "OK",
    "Processes",
    "Served",
    "needs_bwrap",
    "needs_claude",
    "on_both_backends",
    "read_proc",
    "serving",
    "until",
    "until_one",
]

# Far beyond what anything here takes, so that only a hang meets it: the machine may be busy with other things.
LIMIT_S: Final = 150.0
GONE_S: Final = 60.0
POLL_S: Final = 0.01
NUL: Final = b"\0"
T = TypeVar("T")
OK: Final = Reply("ok")


needs_claude = needs("claude", "/proc")
needs_bwrap = needs("bubblewrap")
# For what must be the same with both backends; the parameter is for `serving`.
on_both_backends = pytest.mark.parametrize("backend", BACKENDS)


async def until(condition: Callable[[], bool], what: str | Callable[[], str], within_s: float = GONE_S) -> None:
    """Return as soon as the condition holds; for what gives no event, such as files and other people's processes."""
    with trio.move_on_after(within_s):
        while not condition():  # noqa: ASYNC110 - there is no event
            await trio.sleep(POLL_S)
        return
    raise AssertionError(f"not within {within_s:g} s: {what if isinstance(what, str) else what()}")


async def until_one(found: Callable[[], Iterable[T]], what: str) -> T:
    """Return the only item that `found` returns, as soon as there is one; a second look might not see it again."""
    last: list[T] = []

    def is_one() -> bool:
        last[:] = found()
        return len(last) == 1

    await until(is_one, what)
    return last[0]


class Processes:
    """The processes of one server: they carry a variable of their own, or name a folder of its own.

    Args:
        folder: the server's folder for temporary files.

    Attributes:
        environment: the variables that a server, or a command, needs to be counted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder).encode()
        # Variables of the locale pass from a command to its CLIs; most others do not.
        self._mark = f"LC_TEST_MARK={uuid.uuid4().hex}".encode()
        name, _, value = self._mark.decode().partition("=")
        self.environment = {name: value}

    def marked(self) -> list[int]:
        """The processes that have the variable: every `claude`, and the server if it is a command."""
        return [pid for pid in _pids() if self._mark in read_proc(pid, "environ").split(b"\0")]

    def of_turns(self, api: MessagesApi) -> list[int]:
        """Those of `marked` that talk to this stand-in; the others learn or check Claude Code's notes."""
        return [
            pid for pid in self.marked() if f"ANTHROPIC_BASE_URL={api.base_url}".encode() in read_proc(pid, "environ")
        ]

    def claudes(self) -> list[int]:
        """Those of Claude Code itself, without what they start."""
        return [pid for pid in self.marked() if b"--input-format" in read_proc(pid, "cmdline").split(b"\0")]

    def guardians(self) -> list[int]:
        """The guardian, and the supervisors that it has forked."""
        return [pid for pid in _pids() if self._is_guardian(read_proc(pid, "cmdline").split(b"\0"))]

    def guardians_of(self, server: int) -> list[int]:
        """The guardian alone, by the number of its server."""
        return [pid for pid in self.guardians() if _is_child_of(pid, server)]

    def all(self) -> list[int]:
        """The dead that were not reaped are among them, if this process has started them."""
        reap_adopted()
        return sorted({*self.marked(), *self.guardians(), *filter(_is_own_zombie, _pids())})

    async def wait_none(self, within_s: float = GONE_S) -> None:
        """Return when none is left."""
        await until(lambda: not self.all(), lambda: f"gone are {self._described(self.all())}", within_s)

    async def wait_no_claude(self, within_s: float = GONE_S) -> None:
        """Return when no turn's process is left of a server that runs in this process."""
        await until(lambda: not self.marked(), lambda: f"gone are {self._described(self.marked())}", within_s)

    @staticmethod
    def _described(pids: list[int]) -> list[str]:
        return [f"{pid}: {read_proc(pid, 'cmdline').replace(NUL, b' ').decode(errors='replace')}" for pid in pids]

    def _is_guardian(self, argv: list[bytes]) -> bool:
        return b"claude-openai-guardian" in argv and any(arg.startswith(self._folder) for arg in argv)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - half the time, and often


def read_proc(pid: int, name: str) -> bytes:
    """Return a file of a process, b"" if it is gone: that can happen between finding a process and looking at it."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def _state_and_parent(pid: int) -> list[bytes]:
    return read_proc(pid, "stat").rpartition(b")")[2].split()[:2]


def _is_child_of(pid: int, parent: int) -> bool:
    return _state_and_parent(pid)[1:] == [str(parent).encode()]


def _is_own_zombie(pid: int) -> bool:
    return _state_and_parent(pid) == [b"Z", str(os.getpid()).encode()]


@dataclass(slots=True)
class Served:
    """A server that runs.

    Attributes:
        url: its base URL.
        api: the stand-in it talks to.
        home: HOME of its CLIs; CLAUDE_CONFIG_DIR is `home / "config"`.
        temporary: where its private folder is made; nothing else is in there.
        log_file: its log, at trace level.
        processes: all that it starts.
        scope: cancels `serve`.
        stopped: set when `serve` has ended.
    """

    url: str
    api: MessagesApi
    home: Path
    temporary: Path
    log_file: Path
    processes: Processes
    scope: trio.CancelScope
    stopped: trio.Event

    def log_text(self) -> str:
        """Return the whole lines so far; a thread may be writing another."""
        text = self.log_file.read_text("ascii")
        return text[: text.rfind("\n") + 1]

    async def whole_log(self) -> str:
        """Return the log with all records so far, which a thread writes in their order."""
        async with Call.open(self.url, None, "/version") as call:
            assert await call.status() == 200
            await call.body()
        mark = call.headers["x-request-id"]
        await until(lambda: mark in self.log_text(), "the log is written")
        return self.log_text()

    async def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the records of one event in `whole_log`."""
        records = map(json.loads, (await self.whole_log()).splitlines())
        return [record for record in records if record["event"] == event]

    def most_processes(self) -> int:
        """How many processes of Claude there were at once at most, by the log, where an end stands when it is over."""
        records = [json.loads(line) for line in self.log_text().splitlines()]
        steps = {"process.start": 1, "process.exit": -1}
        counts = itertools.accumulate(steps[record["event"]] for record in records if record["event"] in steps)
        return max(counts, default=0)


class _WithoutDate(list[RecordedRequest]):
    """What a Claude Code sent that adds the date; all other tests are to run on it too."""

    NOTE = re.compile(
        r"<system-reminder>\n(As you answer the user's questions.*# currentDate\n.*|Today's date is .*)\n"
        r"</system-reminder>\n*",
        re.DOTALL,
    )

    def append(self, request: RecordedRequest) -> None:
        kept = []
        for message in request.messages:
            if not isinstance(message["content"], str):
                message["content"] = [block for block in message["content"] if not self._is_note(block)]
            if message["content"]:  # 2.1.268 to 2.1.276 send the note as a message of its own
                kept.append(message)
        request.body["messages"] = kept
        super().append(request)

    def _is_note(self, block: dict[str, Any]) -> bool:
        return block["type"] == "text" and self.NOTE.fullmatch(block["text"]) is not None


_learnt: dict[tuple[str, Path, str], tuple[str, Notes]] = {}
_probe: Final = Primer._probe


async def _probe_once(primer: Primer, model: str) -> Notes:
    """Learn the notes of a model once for all servers of this process; they differ only in the working folder.

    The log of the first server does not have it.
    """
    launcher = primer._launcher
    if launcher.program().name == FAKE_CLAUDE:
        return ()
    key, folder = (model, launcher.program(), today()), str(launcher._cwd)
    if key not in _learnt:
        quiet = copy.copy(launcher)
        quiet._log, quiet._processes = NULL_LOG, {}
        quiet._models = KnownModels(Config().catalog(), NULL_LOG)
        _learnt[key] = folder, await _probe(Primer(quiet, primer._stand_in, NULL_LOG), model)
    learnt_in, notes = _learnt[key]
    found: Notes = tuple(json.loads(json.dumps(notes).replace(learnt_in, folder)))
    return found


@asynccontextmanager
async def serving(
    folder: Path,
    reply: Script | Answer = OK,
    *,
    extra_env: dict[str, str] | None = None,
    keep: Iterable[Path] = (),
    stop: trio.Event | None = None,
    may_refuse: bool = False,
    learns: bool = False,
    **settings: Any,
) -> AsyncIterator[Served]:
    """Run a server and its stand-in while the block runs.

    Afterwards, check that nothing of the server is left, and that Claude's API would have accepted every request.

    Args:
        folder: the test's own.
        reply: what the stand-in answers.
        extra_env: more variables for the CLI.
        stop: for `serve`.
        may_refuse: the test is about what the API refuses.
        learns: the test is about learning the notes of Claude Code.
        keep: what of the test's own lies in `folder / "tmp"`.
        settings: fields of `Config`.
    """
    home, temporary = folder / "home", folder / "tmp"
    home.mkdir(exist_ok=True)
    temporary.mkdir(exist_ok=True)
    processes = Processes(temporary)
    with trio.fail_after(LIMIT_S), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        # On a busy machine a turn would go on without notes, and Claude would hear Claude Code's own.
        patch.setattr(priming, "WAIT_S", LIMIT_S)
        if not learns:
            patch.setattr(Primer, "_probe", _probe_once)
            patch.setattr(priming, "CHECK_DELAY_S", LIMIT_S)
        async with MessagesApi.serving(reply) as api, trio.open_nursery() as nursery:
            if lacks("exact-claude"):
                api.requests = _WithoutDate()
            env = {**stand_in_environment(api.base_url, home / "config"), "HOME": str(home), **processes.environment}
            log_file = folder / "log" / "server.log"
            logging = {"log_file": log_file, "log_level": "trace"}
            # Nothing is kept open unless the test is about it: then a turn's process ends with the turn.
            alone = {"spares": 0, "max_idle_sessions": 0}
            # The status of a stream is that of its turn, however long a busy machine takes to begin it.
            patient = {"hold_status_ms": int(LIMIT_S * 1000)}
            extra = {"extra_env": {**env, **(extra_env or {})}}
            # `tests.compat` runs another version than the bundled one.
            another = {"claude_command": command} if (command := os.environ.get("CLAUDE_OPENAI_TEST_CLAUDE")) else {}
            config = Config(**{"port": 0, **alone, **patient, **logging, **another, **settings, **extra})
            scope, stopped = trio.CancelScope(), trio.Event()
            (url,) = await nursery.start(_serve, config, stop, scope, stopped)
            yield Served(url, api, home, temporary, log_file, processes, scope, stopped)
            assert may_refuse or not api.refused, api.refused
            nursery.cancel_scope.cancel()
        await processes.wait_none()
        assert set(temporary.iterdir()) == set(keep)


async def _serve(
    config: Config,
    stop: trio.Event | None,
    scope: trio.CancelScope,
    stopped: trio.Event,
    task_status: trio.TaskStatus[list[str]],
) -> None:
    try:
        with scope:
            await serve(config, stop=stop, task_status=task_status)
    finally:
        stopped.set()
