"""`doctor`: what keeps a server from working here, and how to mend it.

Takes the flags of the server, so that what is checked is what would run. It changes nothing; only `--round-trip` asks
Claude something.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from claude_openai.commands import command_parser, has_flag
from claude_openai.commands.doctor.checks import Finding, machine_checks
from claude_openai.commands.doctor.checks_claude import claude_checks, confinement_check, program_check
from claude_openai.commands.doctor.checks_server import port_check, server_checks
from claude_openai.config import SETTINGS, Config, config_from, ignored_variables
from claude_openai.config.setting import Parser
from claude_openai.errors import ConfigError

__all__ = ["parser", "run"]


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser(
        "doctor", "Check whether a server with the given flags would work here, and print what to do if not."
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of text")
    parser.add_argument(
        "--round-trip",
        action="store_true",
        help="also send a short request to the server on --port, or else to the running server, or else to one that is "
        "started for it; it costs a few tokens, except with --demo",
    )
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="only run each kind of turn on the installed Claude Code, against a stand-in for Claude's API on "
        "loopback; needs no account and costs nothing",
    )
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print a line for each check, or a JSON object. 0 if no check fails, else 1."""
    given, flags = parser().parse_known_args(list(argv))
    checks = _self_test(flags, environ) if given.self_test else _checks(flags, environ, ask=given.round_trip)
    failed = any(check.state == "FAIL" for check in checks)
    if given.json:
        print(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            _show(check)
        print(_summary(checks))
    return 1 if failed else 0


def _checks(flags: Sequence[str], environ: Mapping[str, str], *, ask: bool) -> list[Finding]:
    complaint = None
    try:
        config = config_from(flags, environ)
    except ConfigError as error:
        mend = error.hint or "mend it; the other checks are for a server without flags"
        complaint = Finding("settings", "FAIL", error.problem, mend)
        config = _without_flags(environ)
    checks = [complaint or Finding("settings", "ok", _told(config))]
    checks += [Finding("variables", "warning", found, mend) for found, mend in ignored_variables(environ)]
    server, instance = server_checks(environ)
    checks += [*machine_checks(config, flags, environ), *claude_checks(config, environ)]
    checks += [confinement_check(config, environ), *server]
    checks.append(port_check(config, instance))
    if ask and complaint is None:
        from claude_openai.commands.doctor.round_trip import STARTED, asked_server, round_trip

        url = asked_server(config, instance, names_port=_names_port(flags, environ))
        cost = "nothing is billed: demo" if config.demo else "it goes to Claude, which costs a few tokens"
        print(f"claude-openai: a round trip over {url or STARTED}; {cost}", file=sys.stderr, flush=True)
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


def _told(config: Config) -> str:
    models = ", ".join(name for name in config.catalog().listing())
    return f"{'demo' if config.demo else config.backend} backend; models {models}"


def _show(check: Finding) -> None:
    print(f"{check.state:<8} {check.name:<12} {check.found}")
    if check.mend:
        print(f"{'':<8} {'':<12} -> {check.mend}")


def _summary(checks: Sequence[Finding]) -> str:
    failed, warned = (sum(check.state == state for check in checks) for state in ("FAIL", "warning"))
    if not failed and not warned:
        return "all is well"
    return f"{failed} of {len(checks)} checks failed, {warned} gave a warning"
