"""`--self-test`: run each kind of turn with the installed Claude Code against a stand-in for Claude's API.

A server of this process runs them on a free port, with a temporary configuration folder: no account, proxy or setting
of the user's Claude Code is used, and all traffic is on loopback. Each turn must give the answer that the stand-in was
scripted to send, with one call of the API, and that call must contain the client's conversation and nothing else.
"""

import http.client
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from claude_openai.claude.process.command_line import stand_in_environment
from claude_openai.claude.process.version import LEAST_EXACT, LEAST_ONE_CALL, LEAST_ORDERED, RENEW, Version
from claude_openai.commands.doctor.checks import Finding
from claude_openai.commands.doctor.self_test_reading import added_text, answer_in, has_moved_results
from claude_openai.commands.doctor.self_test_turns import START, Kind, kinds
from claude_openai.commands.instance.control_client import error_message
from claude_openai.config import Config
from claude_openai.errors import ConfigError, StartError, leaves
from claude_openai.server import serve
from claude_openai.standin.script import Reply
from claude_openai.standin.server import MessagesApi

__all__ = ["self_test"]

# All turns together take about 15 seconds; these limits are for a busy machine.
TURN_S: Final = 60.0
ALL_S: Final = 240.0
# The server learns from its first turns what Claude Code adds, and a turn does not wait for that without a limit.
START_TURNS: Final = 3
UNEXPECTED: Final = Reply("This call was not expected.")
OTHER_RELEASE: Final = (
    "this claude-openai and this Claude Code are not compatible; update one of them: pip install -U claude-openai, "
    "npm install -g @anthropic-ai/claude-code"
)


class _Failed(Exception):
    """A turn failed; the text is the reason."""


_FAILURES: Final = (_Failed, OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn's route and the calls of Claude's API that it took.

    Attributes:
        way: the route.
        calls: the number of calls.
        added: the text that was sent besides the conversation.
        is_moved: whether results of parallel calls were not in order.
    """

    way: str
    calls: int
    added: str
    is_moved: bool


def self_test(config: Config, version: Version) -> list[Finding]:
    """Check each kind of turn; only the first turn if that fails.

    Args:
        config: selects Claude Code and the backend.
        version: the version of that Claude Code.
    """
    checks: list[Finding] = []
    try:
        with tempfile.TemporaryDirectory(prefix="claude-openai-", ignore_cleanup_errors=True) as folder:
            trio.run(_run, config, version, Path(folder), checks)
    except* (ConfigError, StartError, OSError) as group:
        for error in leaves(group):
            problem, hint = str(error), ""
            if isinstance(error, (ConfigError, StartError)):
                problem, hint = error.problem, error.hint
            checks.append(Finding("self-test", "FAIL", problem, hint))
    return checks


async def _run(config: Config, version: Version, folder: Path, checks: list[Finding]) -> None:
    with trio.move_on_after(ALL_S) as bound:
        # The reply to the next call; a turn that does not make its call must not leave its reply to the next turn.
        replies: list[Reply] = []
        async with (
            MessagesApi.serving(lambda _: replies.pop() if replies else UNEXPECTED) as api,
            trio.open_nursery() as nursery,
        ):
            (url,) = await nursery.start(serve, _alone(config, api.base_url, folder))
            tested = _Tested(url, api, replies, version)
            try:
                await tested.start()
            except _FAILURES as error:
                checks.append(_failed("start", error))
            else:
                for kind in kinds(config.backend):
                    checks.append(await tested.check(kind))  # noqa: PERF401 - keeps the finished checks after a timeout
            nursery.cancel_scope.cancel(reason="all turns have run")
    if bound.cancelled_caught:
        checks.append(Finding("self-test", "FAIL", f"not finished within {ALL_S:g} s", "run it on a less busy machine"))


def _alone(config: Config, base_url: str, folder: Path) -> Config:
    return replace(
        config,
        host="127.0.0.1",
        port=0,
        listen=(),
        api_key=None,
        keys_file=None,
        background=False,
        demo=False,
        log_file=folder / "server.log",  # otherwise the records of the SDK would go to stderr
        output_dir=None,
        usage_file=None,
        record=None,
        spares=0,
        max_idle_sessions=1,
        pass_env=(),
        extra_env=stand_in_environment(base_url, folder / "config"),
    )


class _Tested:
    """The server under test, and the requests of its Claude Code."""

    def __init__(self, url: str, api: MessagesApi, replies: list[Reply], version: Version) -> None:
        self._url = url
        self._api = api
        self._replies = replies
        self._version = version

    async def start(self) -> None:
        """Run turns until the server has learnt what Claude Code adds to a conversation, which a slow machine delays.

        Raises:
            _FAILURES: a turn failed.
        """
        for _ in range(START_TURNS):
            if not (await self._turn(START)).added or self._version < LEAST_EXACT:
                return

    async def check(self, kind: Kind) -> Finding:
        began = time.monotonic()
        try:
            turn = await self._turn(kind)
        except _FAILURES as error:
            return _failed(kind.name, error)
        found = f"answered in {1000 * (time.monotonic() - began):.0f} ms ({turn.way})"
        # Each problem, with the first version of Claude Code that must not have it.
        wrong: list[tuple[str, Version]] = []
        if turn.calls > 1:
            wrong.append((f"{turn.calls} calls of Claude's API; expected 1", LEAST_ONE_CALL))
        if turn.added:
            wrong.append((f"Claude also gets {turn.added!r}", LEAST_EXACT))
        if turn.is_moved:
            wrong.append(("results of parallel calls change places", LEAST_ORDERED))
        if wrong:
            found = "; ".join((found, *(text for text, _ in wrong)))
            if all(self._version < least for _, least in wrong):
                return Finding(kind.name, "warning", found, RENEW)
            return Finding(kind.name, "FAIL", found, OTHER_RELEASE)
        if turn.way != kind.way:
            return Finding(kind.name, "warning", f"{found}; expected {kind.way}", OTHER_RELEASE)
        return Finding(kind.name, "ok", f"{found}; Claude gets only the client's conversation")

    async def _turn(self, kind: Kind) -> _Turn:
        before = len(self._api.requests)
        self._replies[:] = [kind.reply]
        way = await self._ask(kind)
        requests = self._api.requests[before:]
        if not requests:
            raise _Failed("Claude's API was not called")
        try:
            added = added_text(kind, requests[0])
        except ValueError as error:
            raise _Failed(str(error)) from error
        return _Turn(way, len(requests), added, has_moved_results(requests[0]))

    async def _ask(self, kind: Kind) -> str:
        """Send the request, and return the route that the server took.

        Raises:
            _Failed: the answer differs from the script.
        """
        with trio.move_on_after(TURN_S):
            status, way, body = await trio.to_thread.run_sync(_post, self._url, kind, abandon_on_cancel=True)
            if status != 200:
                raise _Failed(error_message(body) or f"HTTP status {status}")
            try:
                answer = answer_in(body, stream=bool(kind.fields.get("stream")))
            except ValueError as error:
                raise _Failed(str(error)) from error
            if answer != kind.answer:
                raise _Failed(f"wrong answer: {answer!r}; expected {kind.answer!r}")
            return way
        raise _Failed(f"no answer within {TURN_S:g} s")


def _failed(name: str, error: Exception) -> Finding:
    return Finding(name, "FAIL", str(error) or type(error).__name__, OTHER_RELEASE)


def _post(url: str, kind: Kind) -> tuple[int, str, bytes]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TURN_S)
    try:
        connection.request("POST", kind.path, body=kind.body, headers={"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.getheader("x-claude-openai-conversation", ""), response.read()
    finally:
        connection.close()
