"""`--self-test`: the kinds of turns on the Claude Code of this machine, against a stand-in for Claude's API.

A server of this process runs them, on a free port, with a configuration folder that is thrown away: no account, no
proxy and no setting of the user's Claude Code is used, and nothing leaves the machine. Each turn must be answered as
the stand-in's script says, with one call, and that call must hold the conversation of the client and nothing else.
"""

import http.client
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from claude_openai.claude.hermetic import stand_in_environment
from claude_openai.claude.version import LEAST_EXACT, Version
from claude_openai.commands.doctor.checks import Check, split_advice
from claude_openai.commands.doctor.round_trip import error_message
from claude_openai.commands.doctor.self_test_turns import (
    FIRST,
    SYSTEM,
    Kind,
    Said,
    answer_in,
    kinds,
    said_to_claude,
    system_prompt,
)
from claude_openai.config import Config
from claude_openai.errors import ConfigError, StartError, leaves
from claude_openai.server import serve
from claude_openai.testing.messages_api import MessagesApi
from claude_openai.testing.recorded import RecordedRequest

__all__ = ["self_test"]

# All turns together take less than ten seconds; this is for a machine that is busy with other things.
TURN_S: Final = 30.0
ALL_S: Final = 150.0
# The first turn does not wait for ever until it is known what Claude Code adds.
FIRST_TURNS: Final = 3
ADDED_CHARS: Final = 100
OTHER_RELEASE: Final = (
    "this release of claude-openai and this Claude Code do not fit; renew one of them: pip install -U claude-openai, "
    "npm install -g @anthropic-ai/claude-code"
)


class _Failed(Exception):
    """A turn went wrong; the text says how."""


def self_test(config: Config, version: Version) -> list[Check]:
    """A line for each kind of turn; where the first is not answered, only that one.

    Args:
        config: which Claude Code, and the backend.
        version: of that Claude Code.
    """
    checks: list[Check] = []
    try:
        with tempfile.TemporaryDirectory(prefix="claude-openai-", ignore_cleanup_errors=True) as folder:
            trio.run(_run, config, version, Path(folder), checks)
    except* (ConfigError, StartError, OSError) as group:
        reason = "; ".join(str(error) for error in leaves(group))
        checks.append(Check("self-test", "FAIL", *split_advice(reason)))
    return checks


async def _run(config: Config, version: Version, folder: Path, checks: list[Check]) -> None:
    with trio.move_on_after(ALL_S) as bound:
        async with MessagesApi.serving() as api, trio.open_nursery() as nursery:
            (url,) = await nursery.start(serve, _alone(config, api.base_url, folder))
            tested = _Tested(url, api, version)
            checks.append(await tested.first())
            if checks[0].state != "FAIL":
                for kind in kinds(config.backend):
                    checks.append(await tested.check(kind))  # noqa: PERF401 - those so far count if time is up
            nursery.cancel_scope.cancel(reason="all turns have been tried")
    if bound.cancelled_caught:
        checks.append(Check("self-test", "FAIL", f"it was not over within {ALL_S:g} s", "try it on a quieter machine"))


def _alone(config: Config, base_url: str, folder: Path) -> Config:
    return replace(
        config,
        host="127.0.0.1",
        port=0,
        api_key=None,
        background=False,
        demo=False,
        log=False,
        output_dir=None,
        spares=0,
        max_idle_sessions=2,
        pass_env=(),
        extra_env=stand_in_environment(base_url, folder),
    )


class _Tested:
    """The server under test, and what its Claude Code has sent."""

    def __init__(self, url: str, api: MessagesApi, version: Version) -> None:
        self._url = url
        self._api = api
        self._version = version

    async def first(self) -> Check:
        """Until it is known what Claude Code adds to a conversation, which may take some turns on a slow machine."""
        for _ in range(FIRST_TURNS - 1):
            check = await self.check(FIRST)
            if check.state == "ok":
                return check
        return await self.check(FIRST)

    async def check(self, kind: Kind) -> Check:
        began = time.monotonic()
        before = len(self._api.requests)
        self._api.enqueue(kind.reply)
        try:
            way = await self._asked(kind)
            added = _added(kind, self._api.requests[before:])
        except (_Failed, OSError, http.client.HTTPException) as error:
            return Check(kind.name, "FAIL", *split_advice(str(error) or type(error).__name__, OTHER_RELEASE))
        found = f"answered in {1000 * (time.monotonic() - began):.0f} ms ({way})"
        if added:
            found += f"; Claude also hears {added[0]!r}"
            older = self._version < LEAST_EXACT
            return Check(kind.name, "warning" if older else "FAIL", found, OTHER_RELEASE)
        if way != kind.way:
            return Check(kind.name, "warning", f"{found}, expected {kind.way}", OTHER_RELEASE)
        return Check(kind.name, "ok", f"{found}; Claude hears the client's words alone")

    async def _asked(self, kind: Kind) -> str:
        """How the server has taken the conversation.

        Raises:
            _Failed: the answer is not that of the script.
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
                raise _Failed(f"the answer is {answer!r}, expected {kind.answer!r}")
            return way
        raise _Failed(f"no answer within {TURN_S:g} s")


def _post(url: str, kind: Kind) -> tuple[int, str, bytes]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TURN_S)
    try:
        connection.request("POST", kind.path, body=kind.body, headers={"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.getheader("x-claude-openai-conversation", ""), response.read()
    finally:
        connection.close()


def _added(kind: Kind, requests: Sequence[RecordedRequest]) -> list[str]:
    """What Claude was sent beside the conversation, clipped.

    Raises:
        _Failed: there was not one call, or something is missing in it.
    """
    if len(requests) != 1:
        raise _Failed(f"{len(requests)} calls were made, expected 1")
    system = system_prompt(requests[0])
    if system != SYSTEM:
        raise _Failed(f"the system prompt is {system[:ADDED_CHARS]!r}, expected {SYSTEM!r}")
    remaining: list[Said] = said_to_claude(requests[0])
    added: list[Said] = []
    for said in kind.said:
        while remaining and remaining[0] != said:
            added.append(remaining.pop(0))
        if not remaining:
            raise _Failed(f"Claude is not sent {said[1]!r}, but {added!r}"[: 3 * ADDED_CHARS])
        remaining.pop(0)
    return [str(block)[:ADDED_CHARS] for _, block in (*added, *remaining)]
