"""`--round-trip`: send one tiny streamed completion, and measure the time to the first token.

It goes to the server that listens on the port of the flags. If they name no port, it goes to the running server,
provided that both are demos or neither is. Otherwise it goes to a temporary server of this process on a free port. trio
and the server are imported only for that one, because they load slowly.
"""

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from claude_openai.commands.doctor.checks import Finding
from claude_openai.commands.instance.control_client import connecting, error_message
from claude_openai.commands.instance.record import Instance
from claude_openai.config import Config, local_url
from claude_openai.errors import ConfigError, StartError

__all__ = ["STARTED", "asked_server", "round_trip"]

# Beyond `--process-timeout-ms`, so that the 504 of the server arrives first.
BEYOND_TURN_S: Final = 15.0
LOOK_S: Final = 2.0
STARTED: Final = "a temporary server"
PROMPT: Final = "Reply with the single word: ready"
_CHECK_NAME: Final = "round trip"


class _Failed(StartError):
    """The answer is an error or incomplete; the text is the reason."""


@dataclass(frozen=True, slots=True)
class _TimedAnswer:
    first_s: float
    total_s: float
    text: str


def asked_server(config: Config, instance: Instance | None, *, names_port: bool) -> str | None:
    """Return the base URL of the server to send the request to, None for a temporary server.

    Args:
        config: built from flags and variables.
        instance: the running server, as its files describe it.
        names_port: whether flags or variables name a port.
    """
    if instance is not None and (not names_port or instance.port == config.port):
        # A demo proves nothing about Claude, and Claude nothing about a demo.
        return instance.base_url if (instance.backend == "demo") == config.demo else None
    if not names_port or config.port == 0:
        return None
    url = local_url(config.host, config.port)
    return url if _is_claude_openai(url) else None


def _is_claude_openai(url: str) -> bool:
    """Whether claude-openai listens at the URL. With another TMPDIR or in a container it has no files here."""
    try:
        with connecting(url, LOOK_S) as connection:
            connection.request("GET", "/version")
            version: Any = json.loads(connection.getresponse().read())
        return bool(version["name"] == "claude-openai")
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return False


def round_trip(config: Config, url: str | None) -> Finding:
    """Send the request, and report the times.

    Args:
        config: of the temporary server; its key is sent in either case.
        url: the result of `asked_server`.
    """
    where = url or STARTED
    see = "see `claude-openai logs`" if url else "start the server with --debug and send a request, to see its log"
    try:
        answer = _ask_temporary(config) if url is None else _ask(url, config)
    except (OSError, http.client.HTTPException) as error:
        return Finding(
            _CHECK_NAME,
            "FAIL",
            f"connection failed: {str(error) or type(error).__name__}",
            see,
        )
    except (ConfigError, StartError) as error:
        return Finding(_CHECK_NAME, "FAIL", error.problem, error.hint or see)
    if not answer.text.strip():
        return Finding(_CHECK_NAME, "FAIL", f"empty answer from {where}", see)
    found = (
        f"{where}: first token after {answer.first_s * 1000:.0f} ms, "
        f"{len(answer.text)} characters in {answer.total_s * 1000:.0f} ms"
    )
    return Finding(_CHECK_NAME, "ok", found)


def _ask_temporary(config: Config) -> _TimedAnswer:
    import trio

    from claude_openai.server import serve

    alone = replace(
        config,
        host="127.0.0.1",
        port=0,
        listen=(),
        keys_file=None,
        background=False,
        log=False,
        output_dir=None,
        usage_file=None,
        record=None,
        spares=0,
        max_idle_sessions=0,
    )

    async def run() -> _TimedAnswer:
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(serve, alone)
            answer = await trio.to_thread.run_sync(_ask, url, alone, abandon_on_cancel=True)
            nursery.cancel_scope.cancel(reason="the answer is there")
        return answer

    try:
        return trio.run(run)
    except* (ConfigError, StartError, OSError, http.client.HTTPException) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        reason = error
    raise reason


def _ask(url: str, config: Config) -> _TimedAnswer:
    timeout_s = config.process_timeout_ms / 1000 + BEYOND_TURN_S
    body = {"model": "claude", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"Content-Type": "application/json"}
    if config.api_key:
        headers["Authorization"] = f"Bearer {config.api_key}"
    began = time.monotonic()
    first_s, text = 0.0, ""
    with connecting(url, timeout_s) as connection:
        connection.request("POST", "/v1/chat/completions", body=json.dumps(body), headers=headers)
        for delta in _deltas(connection.getresponse()):
            first_s = first_s or time.monotonic() - began
            text += delta
    return _TimedAnswer(first_s, time.monotonic() - began, text)


def _deltas(response: http.client.HTTPResponse) -> Iterator[str]:
    """Yield the pieces of the text as they arrive.

    Raises:
        _Failed: the answer is an error, or incomplete.
    """
    if response.status != 200:
        if response.status == 401:
            raise _Failed(
                "the server did not accept the API key", hint="set CLAUDE_OPENAI_API_KEY to the key of the server"
            )
        raise _Failed(error_message(response.read()) or f"the server answered with HTTP status {response.status}")
    for line in response:
        data = line.strip().removeprefix(b"data: ")
        if data == b"[DONE]":
            return
        if data.startswith(b"{"):
            if message := error_message(data):
                raise _Failed(message)
            for choice in json.loads(data)["choices"]:
                if content := choice["delta"].get("content"):
                    yield content
    raise _Failed("the answer is incomplete: expected `data: [DONE]` at its end")
