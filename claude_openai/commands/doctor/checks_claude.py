"""The checks of Claude Code: whether it is installed, starts and is logged in, and whether Bash can be confined.

Claude Code is started twice, with the environment of a turn, for its version and for its login. Neither makes a request
to Claude, so nothing is billed. Only a round trip shows that Claude refuses the login.
"""

import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from claude_openai.bounded_run import run_bounded
from claude_openai.claude.process.command_line import claude_environment
from claude_openai.claude.process.environment import named_environment
from claude_openai.claude.process.login import LOGIN_ARGUMENTS, LoginState, parse_login
from claude_openai.claude.process.program import find_claude, login_command
from claude_openai.claude.process.version import LEAST, RENEW, Version, parse_version, shortcoming, show_version
from claude_openai.claude.walls.confinement import try_confinement
from claude_openai.commands.doctor.checks import Finding
from claude_openai.config import Config
from claude_openai.errors import ClaudeMissing, ConfigError

__all__ = ["claude_checks", "confinement_check", "program_check"]

CLAUDE_TIMEOUT_S: Final = 15.0
OUTPUT_CHARS: Final = 1000


def claude_checks(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Check the program and its login; only the program if that fails.

    Args:
        config: selects the program; the demo needs no login.
        environ: the environment variables of the server.
    """
    program, _ = program_check(config, environ)
    if program.state == "FAIL":
        return [program]
    if config.demo:
        return [program, Finding("login", "ok", "not needed for the demo")]
    return [program, _login(find_claude(config.claude_command), _environment(config, environ))]


def program_check(config: Config, environ: Mapping[str, str]) -> tuple[Finding, Version]:
    """Check the program, and return its version too, () if the check fails. Arguments as in `claude_checks`."""
    try:
        claude = find_claude(config.claude_command)
    except (ClaudeMissing, ConfigError) as error:
        return Finding("Claude Code", "FAIL", error.problem, error.hint), ()
    return _program(claude, _environment(config, environ))


def _environment(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    return claude_environment(environ, extra=named_environment(environ, config.pass_env), cwd=Path.cwd())


def confinement_check(config: Config, environ: Mapping[str, str]) -> Finding:
    """Check whether turns with Bash would be confined; it fails only if the configuration requires that."""
    tried = try_confinement(config.confine, environ)
    if tried.bwrap:
        return Finding("Bash", "ok", f"confined by {tried.bwrap}")
    if tried.required:
        return Finding("Bash", "FAIL", tried.reason, "install bubblewrap, or start the server with --confine auto")
    return Finding("Bash", "ok", f"not confined: {tried.reason}")


def _program(claude: Path, env: Mapping[str, str]) -> tuple[Finding, Version]:
    mend = "reinstall it (npm install -g @anthropic-ai/claude-code), or omit --claude-command"
    try:
        done = _run(claude, env, "--version")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("Claude Code", "FAIL", f"cannot run {claude}: {_reason(error)}", mend), ()
    version = parse_version(done.stdout)
    if done.returncode or version is None:
        output = textwrap.shorten(done.stderr or done.stdout, OUTPUT_CHARS, placeholder=" ...")
        found = f"{claude} --version failed with exit code {done.returncode}: {output}"
        return Finding("Claude Code", "FAIL", found, mend), ()
    lacks = shortcoming(version)
    if lacks:
        state: Literal["warning", "FAIL"] = "FAIL" if version < LEAST else "warning"
        return Finding("Claude Code", state, f"{lacks}; at {claude}", RENEW), version
    return Finding("Claude Code", "ok", f"{show_version(version)} at {claude}"), version


def _login(claude: Path, env: Mapping[str, str]) -> Finding:
    unknown = Finding("login", "warning", "this Claude Code does not report its login", "use --round-trip to check it")
    try:
        login = parse_login(_run(claude, env, *LOGIN_ARGUMENTS).stdout, env)
    except (OSError, subprocess.TimeoutExpired):
        return unknown
    if login.state is LoginState.UNKNOWN:
        return unknown
    if login.state is LoginState.MISSING:
        mend = f"run `{login_command(claude)}`, or set ANTHROPIC_API_KEY; --demo needs no account"
        return Finding("login", "FAIL", "Claude Code is not logged in", mend)
    host = urlsplit(env.get("ANTHROPIC_BASE_URL", "")).hostname
    return Finding("login", "ok", f"{login.method}{f', for {host}' if host else ''}")


def _run(claude: Path, env: Mapping[str, str], *argv: str) -> "subprocess.CompletedProcess[str]":
    return run_bounded([str(claude), *argv], env, CLAUDE_TIMEOUT_S)


def _reason(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"no answer within {CLAUDE_TIMEOUT_S:g} s"
