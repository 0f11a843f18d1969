"""The picture of a session at the top of the README: `python -m tests.session_picture` writes it.

The commands are run in a pseudo-terminal, against a demo server of their own. What differs from run to run (ids, times,
pid, port, folders) is replaced by fixed values of the same form.
"""

import errno
import html
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.docs_tables import DOCS

__all__ = ["PICTURE", "picture", "session"]

PICTURE: Final = DOCS / "session.svg"
COLUMNS: Final = 104
LIMIT_S: Final = 150

COMMANDS: Final = (
    "claude-openai --background --demo",
    "curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\\n"
    """  -d '{"model": "claude-sonnet", "messages": [{"role": "user", "content": "Say hello."}]}'""",
    "claude-openai runs",
    "claude-openai stop",
)

# Patterns of what differs, and what is shown.
_FIXED: Final = (
    (r"127\.0\.0\.1:\d+", "127.0.0.1:8000"),
    (r"(pid +)\d+", r"\g<1>4711"),
    (r"\(pid \d+\)", "(pid 4711)"),
    (r"log ( +)\S+/\.claude-openai", r"log \1~/.claude-openai"),
    (r"#ticket=\S+", "#ticket=hBh3oJmZC9cEM0bXq1Vd6yTfWnK7sRuL2gPaIxOeQ8w"),
    (r"chatcmpl-[0-9a-f]+", "chatcmpl-e2217f7e565249838fbdaf07"),
    (r"run_[0-9a-f]{24}", "run_e2217f7e565249838fbdaf07"),
    (r'"created":\d+', '"created":1795487284'),
    (r"\d\d-\d\d \d\d:\d\d:\d\d", "11-24 02:28:04"),
    # A turn on a busy machine may begin before Claude Code's notes are known, and has more tokens then.
    (r'"prompt_tokens":\d+', '"prompt_tokens":16'),
    (r'"total_tokens":\d+', '"total_tokens":59'),
    (r'"cost_usd":[\d.]+', '"cost_usd":0.000462'),
    (r"  WAITED +TIME +TOKENS +COST", "  WAITED  TIME   TOKENS  COST"),
    (r" +\d+\.\d s +\d+\.\d s +\d+\+43 +\$[\d.]+", "  0.9 s   0.9 s  16+43   $0.0005"),
)

_PROMPT: Final = "$ "
_BUTTONS: Final = ("#ff5f56", "#ffbd2e", "#27c93f")
_CHAR_PX, _LINE_PX, _TOP_PX, _SIDE_PX = 8.4, 20, 44, 16


def session() -> list[tuple[str, str]]:
    """Each command with its output, after a run in a folder of their own.

    Raises:
        RuntimeError: a command failed; with its output.
        TimeoutError: a command took longer than `LIMIT_S` seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": folder,
            "TMPDIR": folder,
            "TZ": "UTC",
            "NO_COLOR": "1",
            "TERM": "xterm",
            "CLAUDE_OPENAI_PORT": "0",
            "CLAUDE_OPENAI_SPARES": "0",
        }
        try:
            return [(command, _fixed(_output_of(command, environ, Path(folder)))) for command in COMMANDS]
        finally:
            # After the last command there is nothing to stop; after a failure there may be.
            with suppress(RuntimeError):
                _output_of("claude-openai stop", environ, Path(folder))


def picture(steps: list[tuple[str, str]]) -> str:
    """An SVG of a terminal with the commands and their output."""
    lines = list(_lines(steps))
    width, height = COLUMNS * _CHAR_PX + 2 * _SIDE_PX, len(lines) * _LINE_PX + _TOP_PX + _SIDE_PX
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" font-size="14"'
            ' font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace">',
            f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#0d1117"/>',
            *(f'<circle cx="{20 + 20 * n}" cy="20" r="6" fill="{colour}"/>' for n, colour in enumerate(_BUTTONS)),
            *(
                f'<text x="{_SIDE_PX}" y="{_TOP_PX + _LINE_PX * row + 14}" fill="{"#7ee787" if typed else "#c9d1d9"}"'
                f' textLength="{len(line) * _CHAR_PX:.1f}" xml:space="preserve">{html.escape(line, quote=False)}</text>'
                for row, (line, typed) in enumerate(lines)
                if line
            ),
            "</svg>\n",
        )
    )


def _lines(steps: list[tuple[str, str]]) -> Iterator[tuple[str, bool]]:
    """Each line, cut to the width as a terminal does it, and whether it is typed."""
    for command, output in steps:
        for number, line in enumerate(command.splitlines()):
            yield line if number else _PROMPT + line, True
        for line in output.splitlines():
            for start in range(0, max(len(line), 1), COLUMNS):
                yield line[start : start + COLUMNS], False


def _output_of(command: str, environ: dict[str, str], folder: Path) -> str:
    """What a terminal shows of a command that runs to its end."""
    port = folder / "claude-openai.port"
    if port.exists():
        command = command.replace("127.0.0.1:8000", f"127.0.0.1:{port.read_text().strip()}")
    ours = f'claude-openai() {{ {shlex.quote(sys.executable)} -P -m claude_openai "$@"; }}'
    ours += '\ncurl() { command curl -s "$@"; }'  # without its meter
    master, slave = pty.openpty()
    try:
        termios.tcsetwinsize(slave, (40, COLUMNS))
        script = f"{ours}\n{command}"
        with subprocess.Popen(
            ["bash", "-euc", script], env=environ, cwd=folder, stdin=slave, stdout=slave, stderr=slave
        ) as process:
            os.close(slave)
            try:
                output = b"".join(_read(master, time.monotonic() + LIMIT_S))
            except TimeoutError:
                process.kill()
                raise
            code = process.wait(LIMIT_S)
    finally:
        os.close(master)
    text = output.decode().replace("\r\n", "\n")
    if code:
        raise RuntimeError(f"{command!r} ended with exit code {code}:\n{text}")
    return text


def _read(terminal: int, deadline: float) -> Iterator[bytes]:
    """What is written to a terminal until its last writer closes it."""
    while True:
        if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            raise TimeoutError(f"a command took longer than {LIMIT_S} s")
        try:
            data = os.read(terminal, 65536)
        except OSError as error:  # how Linux reports the end
            if error.errno != errno.EIO:
                raise
            return
        if not data:
            return
        yield data


def _fixed(text: str) -> str:
    for pattern, value in _FIXED:
        text = re.sub(pattern, value, text)
    return text


if __name__ == "__main__":
    PICTURE.write_text(picture(session()), "utf-8")
