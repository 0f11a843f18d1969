"""One real, tiny completion, streamed: the proof that all of it works, and how long the first token takes.

It goes to the server that runs, or to one of this process, on a free port, which is gone afterwards. What is heavy is
loaded when that one is started.
"""

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from claude_openai.commands.doctor.checks import Check, split_advice
from claude_openai.commands.instance import Instance
from claude_openai.config import Config
from claude_openai.errors import ConfigError, StartError

__all__ = ["round_trip"]

# The server answers 504 before that.
BEYOND_TURN_S: Final = 15.0
PROMPT: Final = "Reply with the single word: ready"
_NAME: Final = "round trip"


class _Failed(Exception):
    """There was no answer; the text says why."""


@dataclass(frozen=True, slots=True)
class _Answer:
    first_s: float
    total_s: float
    text: str


def round_trip(config: Config, instance: Instance | None) -> Check:
    """Ask, and say how it went.

    Args:
        config: for a server of our own; its key is sent in either case.
        instance: the server that runs. The demo does not ask one that is none.
    """
    if config.demo and instance is not None and instance.backend != "demo":
        instance = None
    try:
        if instance is None:
            where, answer = "a server started for it", _asked_here(config)
        else:
            where, answer = instance.base_url, _asked(instance.base_url, config)
    except (OSError, http.client.HTTPException) as error:
        return Check(
            _NAME, "FAIL", f"the connection failed: {str(error) or type(error).__name__}", "see `claude-openai logs`"
        )
    except (_Failed, ConfigError, StartError) as error:
        return Check(_NAME, "FAIL", *split_advice(str(error), "see `claude-openai logs`"))
    if not answer.text.strip():
        return Check(_NAME, "FAIL", f"{where} gave an empty answer", "see `claude-openai logs`")
    found = (
        f"{where}: first token after {answer.first_s * 1000:.0f} ms, "
        f"{len(answer.text)} characters in {answer.total_s * 1000:.0f} ms"
    )
    return Check(_NAME, "ok", found)


def _asked_here(config: Config) -> _Answer:
    import trio

    from claude_openai.server import serve

    alone = replace(
        config,
        host="127.0.0.1",
        port=0,
        background=False,
        log=False,
        output_dir=None,
        spares=0,
        max_idle_sessions=0,
    )

    async def run() -> _Answer:
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(serve, alone)
            answer = await trio.to_thread.run_sync(_asked, url, alone, abandon_on_cancel=True)
            nursery.cancel_scope.cancel(reason="the answer is there")
        return answer

    try:
        return trio.run(run)
    except* (ConfigError, StartError, _Failed, OSError, http.client.HTTPException) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        reason = error
    raise reason


def _asked(url: str, config: Config) -> _Answer:
    address = urlsplit(url)
    timeout_s = config.process_timeout_ms / 1000 + BEYOND_TURN_S
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
    body = {"model": "claude", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"Content-Type": "application/json"}
    if config.api_key:
        headers["Authorization"] = f"Bearer {config.api_key}"
    began = time.monotonic()
    first_s, text = 0.0, ""
    try:
        connection.request("POST", "/v1/chat/completions", body=json.dumps(body), headers=headers)
        for delta in _deltas(connection.getresponse()):
            first_s = first_s or time.monotonic() - began
            text += delta
    finally:
        connection.close()
    return _Answer(first_s, time.monotonic() - began, text)


def _deltas(response: http.client.HTTPResponse) -> Iterator[str]:
    """The text as it comes.

    Raises:
        _Failed: the answer is an error, or breaks off.
    """
    if response.status != 200:
        if response.status == 401:
            raise _Failed(
                "the server asks for a key, and refuses the one given here; set CLAUDE_OPENAI_API_KEY to its key"
            )
        raise _Failed(_message(response.read()) or f"the server answers with HTTP status {response.status}")
    for line in response:
        data = line.strip().removeprefix(b"data: ")
        if data == b"[DONE]":
            return
        if data.startswith(b"{"):
            if message := _message(data):
                raise _Failed(message)
            for choice in json.loads(data)["choices"]:
                if content := choice["delta"].get("content"):
                    yield content
    raise _Failed("the answer broke off")


def _message(data: bytes) -> str:
    """The text of an error object, "" for anything else."""
    try:
        told: Any = json.loads(data)
        return " ".join(str(told["error"]["message"]).split())
    except (ValueError, TypeError, KeyError):
        return ""
