"""Start a server in the background, and wait until it is healthy or has failed.

The daemon is a new interpreter in a session of its own, without a terminal, with the environment and the folder of the
shell. The value of --api-key is passed to it in a variable, because other users can see flags in the process list. Its
standard error goes to a temporary file until it listens, and then to the file of `stderr_file`.
"""

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import claude_openai
from claude_openai.commands import EXIT_SIGNAL, command_parser, has_flag, say, without_flags
from claude_openai.commands.dashboard import page_url
from claude_openai.commands.instance.health import Answers, ask
from claude_openai.commands.instance.processes import openers
from claude_openai.commands.instance.record import AlreadyRunning, Instance, find_instance, instance_folder
from claude_openai.commands.state.paths import LOG_FILE, home_folder
from claude_openai.commands.table import run_command
from claude_openai.config import Config
from claude_openai.config.addresses import UNIX
from claude_openai.config.setting import Parser
from claude_openai.errors import StartError

__all__ = ["daemon_argv", "log_file_of", "parser", "run", "start"]

START_TIMEOUT_S: Final = 30.0
ANSWER_POLL_S: Final = 0.02
LOGIN_WAIT_S: Final = 4.0
LOGIN_POLL_S: Final = 0.1
# A daemon that never became healthy has no turns to wait for.
END_TIMEOUT_S: Final = 5.0
EXIT_CODES: Final = (1, 2)
SHOWN_LOG_LINES: Final = 10
_END_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    return command_parser("start", "Start the server in the background; the same as claude-openai --background.")


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Start the server in the background. The exit codes are those of `start`."""
    return run_command("serve", [*argv, "--background"], environ, parser())


def start(
    config: Config,
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    timeout_s: float = START_TIMEOUT_S,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Start a server in the background, in the current folder, and print its address.

    Args:
        config: the settings from `argv` and `environ`.
        argv: flags of the server.
        environ: environment variables of the server.
        timeout_s: time limit until the server is healthy, in seconds.
        clock: seconds that have passed.

    Returns:
        0 once the server is healthy; if it ends before that, its exit code.

    Raises:
        AlreadyRunning: a server is running.
        StartError: the server is not healthy in time.
        SystemExit, KeyboardInterrupt: a signal arrived before the server was healthy, and the server was ended.
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
    # Only if the key was a flag: together with --api-key-file, the variable would set a second key.
    is_key_a_flag = config.api_key is not None and has_flag(argv, "--api-key")
    variables = {**environ, **({"CLAUDE_OPENAI_API_KEY": str(config.api_key)} if is_key_a_flag else {})}
    with (
        _collecting_signals() as signals,
        _Starting([*daemon_argv(cwd), *flags], variables, cwd, log_file) as starting,
    ):
        ready = starting.wait_healthy(folder, signals, timeout_s, clock)
        if ready is None:
            return starting.explain()
        starting.is_healthy = True
    _report(*ready)
    return 0


def daemon_argv(cwd: Path) -> list[str]:
    """Return the command line of a daemon, without its flags.

    Args:
        cwd: folder in which it starts. Without -P, Python imports modules from that folder and would run any `trio.py`
            in it. In a checkout of this project the package itself must be imported from there.
    """
    is_checkout = Path(claude_openai.__file__).parents[1] == cwd
    return [sys.executable, *([] if is_checkout else ["-P"]), "-m", "claude_openai", "daemon"]


def log_file_of(config: Config, cwd: Path) -> Path | None:
    """Return the path of a daemon's log, None if it has no log."""
    if not config.log:
        return None
    return home_folder() / LOG_FILE if config.effective_log_file is None else cwd / config.effective_log_file


class _Starting:
    """A daemon that is starting. At the end of the block it is ended, unless it has become healthy."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], cwd: Path, log_file: Path | None) -> None:
        self.is_healthy = False
        self._log_file = log_file
        self._log_start = _size(log_file)
        try:
            # It has no name, and is deleted when the last process closes it.
            self._stderr = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the block
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and flags that were checked
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                cwd=cwd,
                env=environ,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(f"cannot start {argv[0]!r} in {str(cwd)!r}: {error.strerror or error}") from None

    def __enter__(self) -> "_Starting":
        return self

    def __exit__(self, *_: object) -> None:
        self._stderr.close()
        if self.is_healthy:
            return
        self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_healthy(
        self, folder: Path, signals: Sequence[int], timeout_s: float, clock: Callable[[], float]
    ) -> tuple[Instance, Answers] | None:
        """Wait until the server is healthy and return it with its answers; return None if it has ended.

        Args:
            folder: folder of the instance files.
            signals: signals that this process has received, updated while this waits.
            timeout_s: time limit in seconds.
            clock: seconds that have passed.

        Raises:
            StartError: neither happens in time.
            SystemExit, KeyboardInterrupt: a signal arrived before that.
        """
        deadline = clock() + timeout_s
        while clock() < deadline:
            if signals:
                _exit_for(signals[0])
            if self._process.poll() is not None:
                return None
            instance = find_instance(folder)
            if instance is not None and instance.pid == self._process.pid:
                answers = ask(instance)
                if answers.health == "ok":
                    return instance, answers
            time.sleep(ANSWER_POLL_S)
        self._show()
        raise StartError(f"the server did not answer within {timeout_s:g} s and was stopped")

    def explain(self) -> int:
        """Print why the server ended, and return the exit code for that."""
        code = self._process.returncode
        say(f"claude-openai: the server ended before it was ready (exit code {code})")
        self._show()
        return code if code in EXIT_CODES else 1

    def _show(self) -> None:
        self._stderr.seek(0)
        for line in self._stderr.read().decode(errors="replace").splitlines():
            say(line)
        logged = _lines_from(self._log_file, self._log_start)[-SHOWN_LOG_LINES:]
        # A log can be shared, and its lines do not name the process: show them only if no other process has it open.
        writers = openers(self._log_file)
        if logged and writers is not None and writers <= {self._process.pid}:
            say(f"claude-openai: the last lines of {self._log_file}:", *logged)


@contextmanager
def _collecting_signals() -> Iterator[list[int]]:
    """Collect the signals that would end this process, for the duration of the block, which has to check the list.

    A handler that raises could interrupt between the start of the daemon and the code that ends it.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.getsignal(number) for number in _END_SIGNALS}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # nohup
                signal.signal(number, lambda number, _: received.append(number))
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_for(number: int) -> None:
    say("claude-openai: interrupted before the server was ready; stopping it")
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(EXIT_SIGNAL + number)


def _size(path: Path | None) -> int:
    try:
        return 0 if path is None else path.stat().st_size
    except OSError:
        return 0


def _lines_from(path: Path | None, start: int) -> list[str]:
    """Return the lines of a file after its first `start` bytes, or all lines if the file is shorter than that."""
    if path is None or not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(start if start <= _size(path) else 0)
        return file.read().decode(errors="replace").splitlines()


def _with_login(instance: Instance, answers: Answers) -> Answers:
    """Wait until the server has looked up the login, which it does a second after the start. Scripts do not wait."""
    deadline = time.monotonic() + LOGIN_WAIT_S
    while answers.login == "unchecked" and instance.backend != "demo" and time.monotonic() < deadline:
        time.sleep(LOGIN_POLL_S)
        answers = ask(instance)
    return answers


def _report(instance: Instance, answers: Answers) -> None:
    if sys.stdout.isatty():
        answers = _with_login(instance, answers)
    for warning in (*answers.refusals, *answers.warnings):
        say(f"claude-openai: warning: {warning}")
    demo = " (demo: every answer is made up)" if instance.backend == "demo" else ""
    print(f"claude-openai {instance.version} runs in the background{demo}")
    print(f"pid       {instance.pid}")
    print(f"base URL  {instance.base_url}")
    print(f"log       {instance.log_file or 'none'}")
    if sys.stdout.isatty():
        if answers.login in ("found", "missing"):
            print(f"login     {answers.login}")
        if not instance.base_url.startswith(UNIX):
            print(f"page      {page_url(instance)}")
