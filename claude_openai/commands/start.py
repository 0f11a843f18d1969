"""Starting a server in the background, and waiting until it answers or can say why not.

The daemon is a fresh interpreter in a session of its own, without terminal, with the environment and the folder of the
shell. A key given as a flag becomes a variable on the way, which other users cannot see in the process list. What it
says goes to a file that nobody else writes to; once it listens, it takes its own (`stderr_file`).
"""

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import claude_openai
from claude_openai.commands import EXIT_SIGNAL, command_parser, has_flag, say, without_flags
from claude_openai.commands.instance.health import Answers, ask
from claude_openai.commands.instance.processes import openers
from claude_openai.commands.instance.record import AlreadyRunning, Instance, find_instance, instance_folder
from claude_openai.commands.state.paths import LOG_FILE, home_folder
from claude_openai.commands.table import run_command
from claude_openai.config import Config
from claude_openai.config.setting import Parser
from claude_openai.errors import StartError

__all__ = ["daemon_argv", "log_file_of", "parser", "run", "start"]

START_TIMEOUT_S: Final = 30.0
ANSWER_POLL_S: Final = 0.02
# A daemon that never became healthy has no turns to wait for.
END_TIMEOUT_S: Final = 5.0
EXIT_CODES: Final = (1, 2)
SHOWN_LOG_LINES: Final = 10
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    return command_parser("start", "Start the server in the background; the same as claude-openai --background.")


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Start the server in the background. Exit codes as of `start`."""
    return run_command("serve", [*argv, "--background"], environ, parser())


def start(config: Config, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Start a server in the background, in the present folder, and say where it is.

    Args:
        config: what `argv` and `environ` amount to.
        argv: flags.
        environ: for the daemon.

    Returns:
        0 once it is healthy; if it ends before that, its own exit code.

    Raises:
        AlreadyRunning: there is one.
        StartError: it is not healthy within 30 s.
        SystemExit, KeyboardInterrupt: a signal came before it was; it was ended.
    """
    folder = instance_folder(environ)
    other = find_instance(folder)
    if other is not None:
        raise AlreadyRunning(other)
    cwd = Path.cwd()
    log_file = log_file_of(config, cwd)
    flags = [*without_flags(argv)]
    if config.log and config.effective_log_file is None:
        flags += ["--log-file", str(log_file)]
    # Only what was a flag: beside a file that holds the key, the variable would be a second one.
    is_key_a_flag = config.api_key is not None and has_flag(argv, "--api-key")
    variables = {**environ, **({"CLAUDE_OPENAI_API_KEY": str(config.api_key)} if is_key_a_flag else {})}
    with _noting_signals() as signals, _Starting([*daemon_argv(cwd), *flags], variables, cwd, log_file) as starting:
        told = starting.wait_healthy(folder, signals)
        if told is None:
            return starting.explain()
        starting.is_healthy = True
    _report(*told)
    return 0


def daemon_argv(cwd: Path) -> list[str]:
    """The command line of a daemon, without its flags.

    Args:
        cwd: where it starts. Python takes modules from there unless it is told not to, so that any folder with a
            `trio.py` would run its own code; only in a checkout of this project they must come from there.
    """
    is_checkout = Path(claude_openai.__file__).parents[1] == cwd
    return [sys.executable, *([] if is_checkout else ["-P"]), "-m", "claude_openai", "daemon"]


def log_file_of(config: Config, cwd: Path) -> Path | None:
    """Where a daemon writes its log, None for nowhere."""
    if not config.log:
        return None
    return home_folder() / LOG_FILE if config.effective_log_file is None else cwd / config.effective_log_file


class _Starting:
    """A daemon that is not healthy yet; ended with the block unless it became so."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], cwd: Path, log_file: Path | None) -> None:
        self.is_healthy = False
        self._log_file = log_file
        self._log_start = _size(log_file)
        try:
            # Without a name, and gone with the last who has it open.
            self._words = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the block
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and flags that were checked
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                cwd=cwd,
                env=environ,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(f"cannot start {argv[0]!r} in {str(cwd)!r}: {error.strerror or error}") from None

    def __enter__(self) -> "_Starting":
        return self

    def __exit__(self, *_: object) -> None:
        self._words.close()
        if self.is_healthy:
            return
        self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_healthy(self, folder: Path, signals: Sequence[int]) -> tuple[Instance, Answers] | None:
        """The server once it answers, and what; None if it ended.

        Args:
            folder: where its files are.
            signals: those that came to this process, as they come.

        Raises:
            StartError: neither happens within 30 s.
            SystemExit, KeyboardInterrupt: one of these signals came before.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if signals:
                _end_as(signals[0])
            if self._process.poll() is not None:
                return None
            instance = find_instance(folder)
            if instance is not None and instance.pid == self._process.pid:
                answers = ask(instance)
                if answers.health == "ok":
                    return instance, answers
            time.sleep(ANSWER_POLL_S)
        self._show()
        raise StartError(f"the server did not answer within {START_TIMEOUT_S:g} s, and was ended")

    def explain(self) -> int:
        """Say why it ended, and return the exit code for that."""
        code = self._process.returncode
        say(f"claude-openai: the server ended before it was ready (exit code {code})")
        self._show()
        return code if code in EXIT_CODES else 1

    def _show(self) -> None:
        self._words.seek(0)
        for line in self._words.read().decode(errors="replace").splitlines():
            say(line)
        logged = _lines_from(self._log_file, self._log_start)[-SHOWN_LOG_LINES:]
        # The lines of another server would tell of what is not the matter here, and no line says whose it is.
        writers = openers(self._log_file)
        if logged and writers is not None and writers <= {self._process.pid}:
            say(f"claude-openai: the last lines of {self._log_file}:", *logged)


@contextmanager
def _noting_signals() -> Iterator[list[int]]:
    """The signals that would end this process, for as long as the block, which is to ask for them.

    An exception out of a handler could come when the daemon has just been started and nobody knows of it yet.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # nohup
                signal.signal(number, lambda number, _: noted.append(number))
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_as(number: int) -> None:
    say("claude-openai: interrupted; the server was not ready yet, and is ended")
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(EXIT_SIGNAL + number)


def _size(path: Path | None) -> int:
    try:
        return 0 if path is None else path.stat().st_size
    except OSError:
        return 0


def _lines_from(path: Path | None, start: int) -> list[str]:
    """The lines of a file after its first bytes, or all of them if it was begun anew."""
    if path is None or not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(start if start <= _size(path) else 0)
        return file.read().decode(errors="replace").splitlines()


def _report(instance: Instance, answers: Answers) -> None:
    for warning in answers.warnings:
        say(f"claude-openai: warning: {warning}")
    demo = " (demo: every answer is made up)" if instance.backend == "demo" else ""
    print(f"claude-openai {instance.version} runs in the background{demo}")
    print(f"pid       {instance.pid}")
    print(f"base URL  {instance.base_url}")
    print(f"log       {instance.log_file or 'none'}")
