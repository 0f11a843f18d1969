"""The checks of Claude Code: is it there, does it start, is it logged in.

It is started twice, for moments, with the environment of a turn; it asks nobody for that, and nothing is billed. Knows
how Claude Code tells of its login; a login that Claude refuses shows in a round trip alone.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from claude_openai.claude.process.command_line import claude_environment
from claude_openai.claude.process.environment import named_environment
from claude_openai.claude.process.program import find_claude, login_command
from claude_openai.claude.process.version import LEAST, RENEW, Version, parse_version, shortcoming, show_version
from claude_openai.claude.walls.confinement import try_confinement
from claude_openai.commands.bounded_run import run_bounded
from claude_openai.commands.doctor.checks import Finding
from claude_openai.config import Config
from claude_openai.errors import ClaudeMissing, ConfigError

__all__ = ["claude_checks", "confinement_check", "program_check"]

CLAUDE_TIMEOUT_S: Final = 15.0
_METHODS: Final = {
    "oauth_token": "a token of CLAUDE_CODE_OAUTH_TOKEN or ANTHROPIC_AUTH_TOKEN",
    "claude.ai": "the login of a Claude account",
}


def claude_checks(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Two lines; one if there is no Claude Code that could be used.

    Args:
        config: which one, and whether it is for the demo.
        environ: the server's variables.
    """
    program, _ = program_check(config, environ)
    if program.state == "FAIL":
        return [program]
    if config.demo:
        return [program, Finding("login", "ok", "none is needed: demo")]
    return [program, _login(find_claude(config.claude_command), _environment(config, environ))]


def program_check(config: Config, environ: Mapping[str, str]) -> tuple[Finding, Version]:
    """The line about the program itself, and its version, () if that fails; see `claude_checks`."""
    try:
        claude = find_claude(config.claude_command)
    except (ClaudeMissing, ConfigError) as error:
        return Finding("Claude Code", "FAIL", error.problem, error.hint), ()
    return _program(claude, _environment(config, environ))


def _environment(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    return claude_environment(environ, extra=named_environment(environ, config.pass_env), cwd=Path.cwd())


def confinement_check(config: Config, environ: Mapping[str, str]) -> Finding:
    """Whether turns with Bash would be confined; a failure only where they must be."""
    tried = try_confinement(config.confine, environ)
    if tried.bwrap:
        return Finding("Bash", "ok", f"confined by {tried.bwrap}")
    if tried.required:
        return Finding("Bash", "FAIL", tried.reason, "install bubblewrap, or start the server with --confine auto")
    return Finding("Bash", "ok", f"not confined: {tried.reason}")


def _program(claude: Path, env: Mapping[str, str]) -> tuple[Finding, Version]:
    mend = "install it again: npm install -g @anthropic-ai/claude-code, or leave --claude-command out"
    try:
        done = _said(claude, env, "--version")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("Claude Code", "FAIL", f"{claude} cannot be run: {_reason(error)}", mend), ()
    version = parse_version(done.stdout)
    if done.returncode or version is None:
        said = " ".join((done.stderr or done.stdout).split())[:200]
        found = f"{claude} --version fails (exit code {done.returncode}): {said}"
        return Finding("Claude Code", "FAIL", found, mend), ()
    lacks = shortcoming(version)
    if lacks:
        state: Literal["warning", "FAIL"] = "FAIL" if version < LEAST else "warning"
        return Finding("Claude Code", state, f"{lacks}; at {claude}", RENEW), version
    return Finding("Claude Code", "ok", f"{show_version(version)} at {claude}"), version


def _login(claude: Path, env: Mapping[str, str]) -> Finding:
    unknown = Finding("login", "warning", "this Claude Code does not tell", "--round-trip shows whether it works")
    try:
        told = json.loads(_said(claude, env, "auth", "status", "--json").stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return unknown
    if not isinstance(told, dict) or "loggedIn" not in told:
        return unknown
    if not told["loggedIn"]:
        mend = f"run `{login_command(claude)}`, or set ANTHROPIC_API_KEY; to try without an account: --demo"
        return Finding("login", "FAIL", "Claude Code is not logged in", mend)
    host = urlsplit(env.get("ANTHROPIC_BASE_URL", "")).hostname
    return Finding("login", "ok", f"{_way(told)}{f', for {host}' if host else ''}")


def _way(told: Mapping[str, Any]) -> str:
    """What is used; never who it belongs to."""
    method = str(told.get("authMethod", ""))
    if method == "api_key":
        return f"an API key of {told.get('apiKeySource') or 'Claude Code'}"
    if method == "third_party":
        return f"the account of {told.get('apiProvider')}"
    return _METHODS.get(method, method or "logged in")


def _said(claude: Path, env: Mapping[str, str], *argv: str) -> "subprocess.CompletedProcess[str]":
    return run_bounded([str(claude), *argv], env, CLAUDE_TIMEOUT_S)


def _reason(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"no answer within {CLAUDE_TIMEOUT_S:g} s"
