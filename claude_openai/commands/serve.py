"""Run the server in this process: signals, instance files, and the line with its address.

A server in the foreground also runs without instance files: if another server holds them, or they cannot be written, it
prints a warning. A server in the background does not, because no command could find or stop it.
"""

import gc
import os
import secrets
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from claude_openai._version import __version__
from claude_openai.commands import allows_colours, command_parser, say, without_flags
from claude_openai.commands.activation import inherited_sockets
from claude_openai.commands.instance.lock import Claim, claiming
from claude_openai.commands.instance.port_owner import port_owner
from claude_openai.commands.instance.record import AlreadyRunning, Instance, instance_files, instance_folder
from claude_openai.commands.state.last_start import remember_start
from claude_openai.commands.state.output_folder import remember_folder
from claude_openai.commands.state.stderr_file import keep_words
from claude_openai.config import SETTINGS, Config, config_from, ignored_variables, local_url
from claude_openai.config.addresses import UNIX
from claude_openai.config.setting import Parser
from claude_openai.errors import ClaudeMissing, ConfigError, PortInUse, StartError, leaves

if TYPE_CHECKING:
    import trio

    from claude_openai.claude.process.login import Login

__all__ = ["parser", "run", "serve_here", "tune_interpreter"]

CONTROL_KEY_BYTES: Final = 32
# If a cleaner of the temporary folder removes the files of a running server, `stop` cannot find it until they are back.
KEEP_INTERVAL_S: Final = 2.0
# Cleaners of temporary folders remove files that were not touched for days.
TOUCH_INTERVAL_S: Final = 6 * 3600.0

# Requests are parsed in threads. At each step the event loop may wait this long for the interpreter lock.
SWITCH_INTERVAL_S: Final = 0.001
# New objects before a garbage collection. Each request makes more than Python's 700 several times over: with this value
# a short follow-up takes an eighth less processor time. A collection of so many objects takes 0.4 ms.
NEW_OBJECTS: Final = 10_000
NOT_FOUND_BY_COMMANDS: Final = "`status`, `stop` and the other commands cannot find this server: {}"


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    return command_parser("serve", "Start the server in the foreground; the same as claude-openai without a command.")


def run(argv: Sequence[str], environ: Mapping[str, str], flags_parser: Parser | None = None) -> int:
    """Serve until a signal stops the server; with --background, start a server in the background.

    Args:
        argv: flags.
        environ: environment variables.
        flags_parser: parser of the flags; by default that of the command `serve`.
    """
    config = config_from(argv, environ, flags_parser or parser())
    for ignored, hint in ignored_variables(environ):
        say(f"claude-openai: warning: {ignored}; {hint}")
    if config.background:
        from claude_openai.commands.start import start

        return start(config, argv, environ)
    with _claiming_or_complaint(instance_folder(environ)) as (claim, complaint):
        serve_here(config, argv, environ, claim, complaint)
    return 0


def serve_here(
    config: Config, argv: Sequence[str], environ: Mapping[str, str], claim: Claim | None, complaint: str = ""
) -> None:
    """Serve in this process until a signal stops the server.

    Args:
        config: settings; `background` is published in the instance files.
        argv: flags the server was started with.
        environ: environment variables the server was started with.
        claim: the instance files, None to serve without them.
        complaint: line to print to standard error once the server listens, "" for none.
    """
    # Imported after the flags were read, so that --help and a mistyped flag answer at once.
    import trio

    from claude_openai.server import serve

    sockets = inherited_sockets(environ)
    config = replace(
        config,
        control_key=secrets.token_urlsafe(CONTROL_KEY_BYTES),
        private_files=(*config.private_files, *instance_files(instance_folder(environ))),
        log_colours=allows_colours(environ),
        owns_process=True,
    )
    # By now this process is the one in the background.
    served = replace(config, background=False)

    async def run() -> None:
        stop = trio.Event()
        with trio.open_signal_receiver(*_stop_signals()) as signals:
            async with trio.open_nursery() as signal_nursery:
                signal_nursery.start_soon(_handle_signals, signals, stop, claim)
                async with trio.open_nursery() as nursery:
                    # Exclude all that is loaded from garbage collection. Its 120,000 objects took 85 ms on the event
                    # loop, in about every seventh request with 1,000 messages.
                    serving = partial(
                        serve,
                        served,
                        stop=stop,
                        sockets=sockets,
                        on_loaded=gc.freeze,
                        on_outdated=_warn_of_outdated,
                        on_login=partial(_announce_login, config),
                    )
                    urls = await nursery.start(serving)
                    if claim is not None:
                        signal_nursery.start_soon(_keep_files, claim)
                    instance = _instance(config, urls, argv, environ)
                    unpublished = _publish(claim, instance)
                    remember_folder(config.output_dir)
                    if config.background:
                        remember_start(instance, instance_folder(environ))
                        keep_words()
                    _announce(urls, config, unpublished or complaint)
                signal_nursery.cancel_scope.cancel(reason="the server has ended")

    tune_interpreter()
    try:
        trio.run(run)
    except* PortInUse as group:
        error = leaves(group)[0]
        owner = port_owner(error.port) if isinstance(error, PortInUse) else None
        if not isinstance(error, PortInUse) or owner is None:
            raise
        found = f"port {error.port} on {error.host} is in use by {owner}"
        raise StartError(found, hint=owner.hint) from group
    # At exit the interpreter searches all objects for cycles, which would take a second after all work is done.
    gc.freeze()


def tune_interpreter() -> None:
    """Make the interpreter suit a server; for a process that does nothing else."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])


@contextmanager
def _claiming_or_complaint(folder: Path) -> Iterator[tuple[Claim | None, str]]:
    """Hold the instance files for the block. Yield them and "", or None and why this server has none."""
    claim, complaint = None, ""
    with ExitStack() as stack:
        try:
            claim = stack.enter_context(claiming(folder))
        except AlreadyRunning as error:
            complaint = f"{error.problem}; `status`, `stop` and the other commands use that server, not this one"
        except StartError as error:
            complaint = NOT_FOUND_BY_COMMANDS.format(error)
        yield claim, complaint


def _publish(claim: Claim | None, instance: Instance) -> str:
    """Publish the server to the other commands. Return "", or why that failed.

    Raises:
        StartError: it failed for a server in the background.
    """
    try:
        if claim is not None:
            claim.publish(instance)
    except StartError as error:
        if instance.background:
            raise
        return NOT_FOUND_BY_COMMANDS.format(error)
    return ""


def _instance(config: Config, urls: Sequence[str], argv: Sequence[str], environ: Mapping[str, str]) -> Instance:
    log_file = config.effective_log_file
    url = _reachable(urls)
    return Instance(
        pid=os.getpid(),
        port=urlsplit(url).port or 0,
        base_url=url,
        control_key=config.control_key or "",
        version=__version__,
        backend="demo" if config.demo else config.backend,
        started_at=time.time(),
        log_file=str(log_file.absolute()) if config.is_logged and log_file else None,
        output_dir="" if config.output_dir is None else str(config.output_dir),
        argv=without_flags(argv),
        cwd=str(Path.cwd()),
        background=config.background,
        drain_timeout_ms=config.drain_timeout_ms,
        lame_duck_ms=config.lame_duck_ms,
        has_api_key=config.api_key is not None,
        variables={
            name: environ[name]
            for setting in SETTINGS
            for name in setting.variables
            if environ.get(name) and setting.name != "api_key"
        },
    )


def _reachable(urls: Sequence[str]) -> str:
    """Return the URL by which the commands reach the server: a TCP address, if there is one."""
    url = next((each for each in urls if not each.startswith(UNIX)), urls[0])
    bound = urlsplit(url)
    return url if bound.hostname is None else local_url(bound.hostname, bound.port or 0)


async def _keep_files(claim: Claim) -> None:
    import trio

    from claude_openai.threads import NoThreadError, run_in_thread

    next_touch = trio.current_time() + TOUCH_INTERVAL_S
    while True:
        await trio.sleep(KEEP_INTERVAL_S)
        with suppress(NoThreadError):  # retried after KEEP_INTERVAL_S
            await run_in_thread(claim.keep)
        if trio.current_time() >= next_touch:
            next_touch += TOUCH_INTERVAL_S
            claim.touch()


def _stop_signals() -> list[signal.Signals]:
    """Return the signals that stop the server. SIGHUP, from a closed terminal, is one unless `nohup` ignores it."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else [])]


async def _handle_signals(signals: AsyncIterator[int], stop: "trio.Event", claim: Claim | None) -> None:
    """Stop gracefully at the first signal. Exit at the second: the guardian kills the processes that are left."""
    async for number in signals:
        # A closed terminal may send SIGHUP twice: from its shell and from the kernel.
        if stop.is_set() and number != signal.SIGHUP:
            if claim is not None:
                claim.release()
            os._exit(128 + number)
        stop.set()
        say("claude-openai: stopping; a second signal stops at once")


def _announce(urls: Sequence[str], config: Config, complaint: str) -> None:
    how = "demo: no Claude account is used, every answer is made up" if config.demo else f"{config.backend} backend"
    say(f"claude-openai {__version__} listening on {' and '.join(urls)} ({how})")
    for line in (complaint, _missing_claude(config)):
        if line:
            say(f"claude-openai: {line}")
    if sys.stderr is not None and sys.stderr.isatty():
        say(*_first_steps(config, _reachable(urls)))


def _first_steps(config: Config, url: str) -> list[str]:
    """Return the page, how to try the server, and where the documentation is, a line each."""
    from claude_openai.web.page_access import first_ticket

    key = " -H 'Authorization: Bearer KEY'" if config.needs_key else ""
    body = '{"model": "claude", "messages": [{"role": "user", "content": "Hello"}]}'
    is_unix = url.startswith(UNIX)
    base = f"--unix-socket {shlex.quote(url.removeprefix(UNIX))} http://localhost" if is_unix else url
    page = f"page:    {url}/dashboard#ticket={first_ticket(config.control_key or '')}"
    return [
        *(() if is_unix else (page,)),
        f"try it:  curl {base}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '{body}'",
        "docs:    claude-openai help; clients: claude-openai connect",
    ]


def _warn_of_outdated(lacks: str) -> None:
    from claude_openai.claude.process.version import RENEW

    say(f"claude-openai: warning: Claude Code {lacks}; {RENEW}")


def _announce_login(config: Config, login: "Login") -> None:
    from claude_openai.claude.process.login import LoginState
    from claude_openai.claude.process.program import find_claude, login_command

    if login.state is LoginState.MISSING:
        command = "claude auth login"
        with suppress(ClaudeMissing, ConfigError):  # it was removed meanwhile
            command = login_command(find_claude(config.claude_command))
        say(
            f"claude-openai: warning: Claude Code is not logged in; run `{command}`, or start the server with "
            "ANTHROPIC_API_KEY; --demo needs no account"
        )
    elif sys.stderr is not None and sys.stderr.isatty():
        say(f"login:   {login.state.value}{f': {login.method}' if login.method else ''}")


def _missing_claude(config: Config) -> str:
    from claude_openai.claude.process.program import find_claude

    try:
        find_claude(config.claude_command)
    except (ClaudeMissing, ConfigError) as error:
        return f"warning: {error}"
    return ""
