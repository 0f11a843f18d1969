"""`claude` without the server in a conversation with tools, started and spoken to as the server does it.

Nothing is done in the measured time that could be done before: the transcript lies there, the frames are encoded, and
all are written at once.
"""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from claude_openai.claude.control.frames import message_of, user_frame
from claude_openai.claude.control.mcp_server import ToolServer
from claude_openai.claude.process.command_line import claude_argv, claude_environment, stand_in_environment
from claude_openai.claude.process.program import find_claude
from claude_openai.claude.process.turn_settings import TurnSettings
from claude_openai.claude.transcript.session_file import Past, transcript_lines, write_private
from claude_openai.protocol.turn.blocks import Message, TextBlock
from claude_openai.protocol.turn.request import TurnRequest

from .answer import Answer

__all__ = ["RawClaude"]


class RawClaude:
    """A process that was started for a request, whose turn is under way; see `asked`.

    Attributes:
        answer: to the request.
    """

    def __init__(self, process: subprocess.Popen[bytes], toolbox: ToolServer, lines: list[str], started: float) -> None:
        self._process = process
        self._toolbox = toolbox
        self._lines = lines
        self.answer = self._turn(started)

    @classmethod
    @contextmanager
    def asked(cls, request: TurnRequest, upstream: str, folder: Path, *, waits_s: float = 0.0) -> "Iterator[RawClaude]":
        """Start a process that resumes from the history of a request, ask it, and end it with the block.

        Args:
            request: what to ask.
            upstream: base URL of the stand-in `clock`.
            folder: for its configuration and the transcript.
            waits_s: seconds for which the process waits before it gets the history and the question, like a spare of
                the server; the time of the answer begins after them.
        """
        settings, cwd = TurnSettings.of(request), folder / "cwd"
        cwd.mkdir(exist_ok=True)
        session = str(uuid.uuid4())
        transcript = folder / f"{session}.jsonl" if request.turns else None
        argv = claude_argv(
            find_claude(None), model=request.claude_model, settings=settings, resume=transcript, session=session
        )
        env = claude_environment(os.environ, extra=stand_in_environment(upstream, folder), cwd=cwd)
        lines: list[str] = []
        toolbox = ToolServer(request.tools, lines.append)
        bind = {"subtype": "initialize", "hooks": None, "systemPrompt": [request.system], **toolbox.bind()}
        lines.append(_line({"type": "control_request", "request_id": "req_1", "request": bind}))
        lines.append(_line(user_frame(message_of(request.prompt))))
        with _Transcript(
            transcript, list(transcript_lines(session, Past(request.turns), cwd)), late=waits_s > 0
        ) as past:
            started = time.perf_counter()
            with subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env | settings.environment, cwd=cwd
            ) as process:
                try:
                    if waits_s:
                        time.sleep(waits_s)
                        started = time.perf_counter()
                        past.give()
                    yield cls(process, toolbox, lines, started)
                finally:
                    process.kill()

    def ask(self, text: str) -> Answer:
        """Ask for another turn."""
        self._lines.append(_line(user_frame(message_of(Message("user", (TextBlock(text),))))))
        return self._turn(time.perf_counter())

    def _turn(self, asked: float) -> Answer:
        first, text = 0.0, ""
        self._write()
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not first and b'"text_delta"' in line:
                first = time.perf_counter()
            record: dict[str, Any] = json.loads(line)
            match record["type"]:
                case "control_request":
                    self._toolbox.control_request(record)
                    self._write()
                case "stream_event":
                    text += record["event"].get("delta", {}).get("text", "")
                case "result":
                    if record["is_error"]:
                        raise RuntimeError(f"the raw CLI failed: {record}")
                    return Answer(asked, first, text)
        raise RuntimeError("the raw CLI ended within its turn")

    def _write(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("".join(self._lines).encode())
        self._process.stdin.flush()
        self._lines.clear()


class _Transcript:
    """The transcript of a process, if it has one, for the length of the block; with `late` only from `give` on."""

    def __init__(self, path: Path | None, lines: list[str], *, late: bool) -> None:
        self._path = path
        self._lines = lines
        self._late = late

    def __enter__(self) -> Self:
        if self._path is not None and self._late:
            os.mkfifo(self._path.with_suffix(".fifo"))
            os.link(self._path.with_suffix(".fifo"), self._path)
        elif self._path is not None:
            write_private(self._path, self._lines)
        return self

    def give(self) -> None:
        """Write it, for a process that waits, as `LateTranscript` does."""
        assert self._path is not None
        write_private(self._path.with_suffix(".new"), self._lines)
        self._path.with_suffix(".new").rename(self._path)
        try:
            fd = os.open(self._path.with_suffix(".fifo"), os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # not opened by the process, which will open the file
            return
        os.set_blocking(fd, True)
        with os.fdopen(fd, "w") as fifo:
            fifo.writelines(self._lines)

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            self._path.unlink()
            self._path.with_suffix(".fifo").unlink(missing_ok=True)


def _line(frame: dict[str, Any]) -> str:
    return json.dumps(frame) + "\n"
