"""`doctor`: check whether a server would work here, and print how to fix what is wrong.

It takes the flags of the server, and checks a server with these flags. It changes nothing. Only `--round-trip` sends a
request to Claude.
"""

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from claude_openai.commands import command_parser, has_flag
from claude_openai.commands.doctor.checks import Finding, machine_checks
from claude_openai.commands.doctor.checks_claude import claude_checks, confinement_check, program_check
from claude_openai.commands.doctor.checks_server import port_check, server_checks
from claude_openai.config import SETTINGS, Config, config_from, ignored_variables
from claude_openai.config.setting import Parser
from claude_openai.errors import ConfigError

__all__ = ["parser", "run"]

MIN_TEXT: Final = 30


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser(
        "doctor", "Check whether a server with these flags would work here, and print how to fix what is wrong."
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of text")
    parser.add_argument(
        "--round-trip",
        action="store_true",
        help="also send a short request: to the server on --port, or else to the running server, or else to a "
        "temporary one; this costs a few tokens, except with --demo",
    )
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="only test each kind of turn, with the installed Claude Code and a local stand-in for Claude's API; needs "
        "no account and costs nothing",
    )
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print a line for each check, or a JSON object. Return 0 if no check fails, else 1."""
    options, flags = parser().parse_known_args(list(argv))
    checks = _self_test(flags, environ) if options.self_test else _checks(flags, environ, ask=options.round_trip)
    failed = any(check.state == "FAIL" for check in checks)
    if options.json:
        print(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            _show(check, width)
        print(_summary(checks))
    return 1 if failed else 0


def _checks(flags: Sequence[str], environ: Mapping[str, str], *, ask: bool) -> list[Finding]:
    complaint = None
    try:
        config = config_from(flags, environ)
    except ConfigError as error:
        mend = error.hint or "correct it; the other checks are of a server without flags"
        complaint = Finding("settings", "FAIL", error.problem, mend)
        config = _without_flags(environ)
    checks = [complaint or Finding("settings", "ok", _settings(config))]
    checks += [Finding("variables", "warning", found, mend) for found, mend in ignored_variables(environ)]
    server, instance = server_checks(environ)
    checks += [*machine_checks(config, flags, environ), *claude_checks(config, environ)]
    checks += [confinement_check(config, environ), *server]
    if config.state_url is not None:
        # Imported here: the parsers of commands load no trio.
        from claude_openai.commands.doctor.check_state import state_checks

        checks += state_checks(config)
    checks.append(port_check(config, instance))
    if ask and complaint is None:
        from claude_openai.commands.doctor.round_trip import STARTED, asked_server, round_trip

        url = asked_server(config, instance, names_port=_names_port(flags, environ))
        cost = "the demo costs nothing" if config.demo else "this costs a few tokens"
        print(f"claude-openai: sending a request to {url or STARTED}; {cost}", file=sys.stderr, flush=True)
        checks.append(round_trip(config, url))
    return checks


def _self_test(flags: Sequence[str], environ: Mapping[str, str]) -> list[Finding]:
    try:
        config = config_from(flags, environ)
    except ConfigError as error:
        return [Finding("settings", "FAIL", error.problem, error.hint)]
    program, version = program_check(config, environ)
    if program.state == "FAIL":
        return [program]
    from claude_openai.commands.doctor.self_test import self_test

    return [program, *self_test(config, version)]


def _names_port(flags: Sequence[str], environ: Mapping[str, str]) -> bool:
    port = next(setting for setting in SETTINGS if setting.name == "port")
    return has_flag(flags, "--port") or port.find(None, environ)[0] is not None


def _without_flags(environ: Mapping[str, str]) -> Config:
    try:
        return config_from([], environ)
    except ConfigError:
        return Config()


def _settings(config: Config) -> str:
    models = ", ".join(name for name in config.catalog().listing())
    return f"{'demo' if config.demo else config.backend} backend; models {models}"


def _show(check: Finding, width: int) -> None:
    _print_wrapped(f"{check.state:<8} {check.name:<{width}} ", check.found)
    if check.mend:
        _print_wrapped(f"{'':<8} {'':<{width}} -> ", check.mend)


def _print_wrapped(start: str, text: str) -> None:
    """Print a text after a start. On a terminal its lines break between words, never within."""
    if not sys.stdout.isatty():
        print(start + text)
        return
    width = max(len(start) + MIN_TEXT, shutil.get_terminal_size().columns)
    wrapper = textwrap.TextWrapper(width, start, " " * len(start), break_long_words=False, break_on_hyphens=False)
    print(wrapper.fill(text))


def _summary(checks: Sequence[Finding]) -> str:
    failed, warned = (sum(check.state == state for check in checks) for state in ("FAIL", "warning"))
    if not failed and not warned:
        return "all checks passed"
    return f"{failed} of {len(checks)} checks failed, {warned} gave a warning"
