"""Starting a server in the background, and waiting until it answers or can say why not.

The daemon is a fresh interpreter in a session of its own, without terminal, with the environment and the folder of the
shell. A key given as a flag becomes a variable on the way, which other users cannot see in the process list.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import claude_openai
from claude_openai.commands import has_flag, without_flags
from claude_openai.commands.asking import health_of
from claude_openai.commands.instance import AlreadyRunning, Instance, find_instance, instance_folder
from claude_openai.commands.paths import LOG_FILE, STDERR_FILE, home_folder
from claude_openai.config import Config
from claude_openai.errors import StartError
from claude_openai.logs.writer import open_log_file

__all__ = ["daemon_argv", "log_file_of", "start"]

START_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.02
# A daemon that never became healthy has no turns to wait for.
END_TIMEOUT_S: Final = 5.0
EXIT_CODES: Final = (1, 2)
SHOWN_LOG_LINES: Final = 10
MAX_STDERR_BYTES: Final = 64 * 1024


def start(config: Config, argv: Sequence[str], environ: Mapping[str, str], cwd: Path | None = None) -> int:
    """Start a server in the background and say where it is.

    Args:
        config: what `argv` and `environ` amount to.
        argv: flags.
        environ: for the daemon.
        cwd: for the daemon; by default the present one.

    Returns:
        0 once it is healthy; if it ends before that, its own exit code.

    Raises:
        AlreadyRunning: there is one.
        StartError: it is not healthy within 30 s.
    """
    folder = instance_folder(environ)
    other = find_instance(folder)
    if other is not None:
        raise AlreadyRunning(other)
    cwd = Path.cwd() if cwd is None else cwd
    log_file = log_file_of(config, cwd)
    flags = [*without_flags(argv)]
    if config.log and config.effective_log_file is None:
        flags += ["--log-file", str(log_file)]
    # Only what was a flag: beside a file that holds the key, the variable would be a second one.
    is_key_a_flag = config.api_key is not None and has_flag(argv, "--api-key")
    variables = {**environ, **({"CLAUDE_OPENAI_API_KEY": str(config.api_key)} if is_key_a_flag else {})}
    with _Starting([*daemon_argv(cwd), *flags], variables, cwd, log_file) as starting:
        instance = starting.wait_healthy(folder)
        if instance is None:
            return starting.explain()
        starting.is_healthy = True
    _report(instance)
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
        self._stderr_file = home_folder() / STDERR_FILE
        stderr = open_log_file(self._stderr_file)
        try:
            if os.fstat(stderr).st_size > MAX_STDERR_BYTES:
                os.ftruncate(stderr, 0)
            self._stderr_start = os.fstat(stderr).st_size
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and flags that were checked
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=cwd,
                env=environ,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(f"cannot start {argv[0]!r} in {str(cwd)!r}: {error.strerror or error}") from None
        finally:
            os.close(stderr)

    def __enter__(self) -> "_Starting":
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_healthy:
            return
        self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_healthy(self, folder: Path) -> Instance | None:
        """The server once it answers, None if it ended.

        Raises:
            StartError: neither happens within 30 s.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return None
            instance = find_instance(folder)
            if instance is not None and instance.pid == self._process.pid and health_of(instance) == "ok":
                return instance
            time.sleep(POLL_S)
        self._show()
        raise StartError(f"the server did not answer within {START_TIMEOUT_S:g} s, and was ended")

    def explain(self) -> int:
        """Say why it ended, and return the exit code for that."""
        code = self._process.returncode
        print(f"claude-openai: the server ended before it was ready (exit code {code})", file=sys.stderr)
        self._show()
        return code if code in EXIT_CODES else 1

    def _show(self) -> None:
        for line in _lines_from(self._stderr_file, self._stderr_start):
            print(line, file=sys.stderr)
        logged = _lines_from(self._log_file, self._log_start)[-SHOWN_LOG_LINES:]
        if logged:
            print(f"claude-openai: the last lines of {self._log_file}:", *logged, sep="\n", file=sys.stderr)


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


def _report(instance: Instance) -> None:
    demo = " (demo: every answer is made up)" if instance.backend == "demo" else ""
    print(f"claude-openai {instance.version} runs in the background{demo}")
    print(f"pid       {instance.pid}")
    print(f"base URL  {instance.base_url}")
    print(f"log       {instance.log_file or 'none'}")
