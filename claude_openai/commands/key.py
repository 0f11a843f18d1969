"""`claude-openai key`: add, list and revoke named keys. A running server follows its file within a second."""

import argparse
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from claude_openai.commands import command_parser, say
from claude_openai.config import SETTINGS
from claude_openai.config.setting import Parser
from claude_openai.config.suggestions import did_you_mean
from claude_openai.config.values import above_zero, choice, file, several, text, whole
from claude_openai.errors import ConfigError, StartError
from claude_openai.keys.file import edited, read_keys
from claude_openai.keys.key import TOOL_MODES, Key, hash_of, iso, name_problem

__all__ = ["ACTIONS", "parser", "run"]

ACTIONS: Final = ("add", "list", "revoke")
_SETTING: Final = next(setting for setting in SETTINGS if setting.name == "keys_file")
# The file of these commands; a server has none by default.
DEFAULT_FILE: Final = "~/.claude-openai/keys.json"
SECRET_BYTES: Final = 32
# The usual beginning: some clients, and filters of logs, know keys by it.
PREFIX: Final = "sk-"
_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([hd])")


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser(
        "key",
        "Add, list and revoke named keys for clients, with their limits. A server with the same --keys-file follows "
        "within a second.",
    )
    parser.add_argument("action", metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("name", metavar="NAME", nargs="?", help="whose key; for add and revoke")
    limits = parser.add_argument_group("limits of a new key (add)")
    limits.add_argument(
        "--expires", metavar="WHEN", help="when it ends: 90d, 12h, a date such as 2027-01-31, or a time in ISO 8601"
    )
    limits.add_argument(
        "--models", metavar="NAMES", help="comma-separated models, or patterns such as 'claude-haiku*' (default: all)"
    )
    limits.add_argument(
        "--tool-modes",
        metavar="MODES",
        help=f"comma-separated tool modes that its requests may select: {', '.join(TOOL_MODES)} (default: none, so "
        "Claude's own tools are off)",
    )
    limits.add_argument(
        "--folders",
        metavar="PATHS",
        help="comma-separated folders for Claude's own tools, within the folders that the server allows (default: all "
        "of them)",
    )
    limits.add_argument(
        "--web-search",
        action="store_const",
        const=True,
        help="let its requests have Claude search the web, if the server allows it too (default: no)",
    )
    limits.add_argument("--max-concurrency", metavar="N", help="maximum number of its turns that run or wait")
    limits.add_argument("--max-cost-per-day", metavar="USD", help="dollars of a local day after which turns get a 429")
    parser.add_argument("--json", action="store_true", help="for list: print an array of JSON objects")
    parser.add_argument(
        _SETTING.flag,
        dest=_SETTING.name,
        metavar=_SETTING.metavar,
        help=f"the file (default: {DEFAULT_FILE}, or {_SETTING.variables[0]})",
    )
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Add, list or revoke. Exit codes: 0, or 1 if the key exists already, or there is none to revoke."""
    options = parser().parse_args(list(argv))
    if options.action not in ACTIONS:
        hint = did_you_mean(options.action, ACTIONS) or f"expected one of {', '.join(ACTIONS)}"
        raise ConfigError(f"key: unknown action: {options.action!r}", hint=hint)
    _check_arguments(options)
    raw, source = _SETTING.find(options.keys_file, environ)
    path: Path = _SETTING.read(DEFAULT_FILE if raw is None else raw, source)
    if options.action == "add":
        _add(path, options)
    elif options.action == "list":
        _list(path, as_json=options.json)
    else:
        _revoke(path, options.name)
    return 0


def _check_arguments(options: argparse.Namespace) -> None:
    if options.action == "list":
        if options.name is not None:
            raise ConfigError(f"key list: unexpected argument: {options.name!r}")
    elif options.name is None:
        raise ConfigError(f"key {options.action}: missing NAME")
    if options.action != "add":
        for name in _LIMITS:
            if getattr(options, name) is not None:
                raise ConfigError(f"key {options.action}: --{name.replace('_', '-')} is for key add")
    if options.json and options.action != "list":
        raise ConfigError(f"key {options.action}: --json is for key list")


def _add(path: Path, options: argparse.Namespace) -> None:
    problem = name_problem(options.name)
    if problem:
        raise ConfigError(f"key add: the name {options.name!r} {problem}")
    limits = {name: _read(name, convert, getattr(options, name)) for name, convert in _LIMITS.items()}
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    key = Key(options.name, hash_of(secret), iso(time.time()))
    key = replace(key, **{name: value for name, value in limits.items() if value is not None})
    with edited(path) as keys:
        if any(each.name == key.name for each in keys):
            raise StartError(
                f"there is a key of {key.name!r} already", hint=f"`claude-openai key revoke {key.name}` removes it"
            )
        keys.append(key)
    print(secret, flush=True)
    say(
        f"# The key of {key.name}. It is shown only now: {path} has its hash.",
        f"# A server uses the file with --keys-file {path}.",
    )


def _list(path: Path, *, as_json: bool) -> None:
    keys, _ = read_keys(path)
    if as_json:
        shown = [{name: value for name, value in key.to_json().items() if name != "sha256"} for key in keys]
        print(json.dumps(shown, indent=2))
        return
    rows = [_HEAD, *(_row(key) for key in keys)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _revoke(path: Path, name: str) -> None:
    with edited(path) as keys:
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise StartError(f"there is no key of {name!r} in {path}", hint="`claude-openai key list` shows the names")
        keys[:] = left
    say(f"# The key of {name} was revoked. Servers refuse it from now on, and end its turns within a second.")


_HEAD: Final = ("NAME", "CREATED", "EXPIRES", "AT ONCE", "A DAY", "TOOLS", "SEARCH", "MODELS", "FOLDERS")


def _row(key: Key) -> tuple[str, ...]:
    expired = " (expired)" if key.has_expired(time.time()) else ""
    return (
        key.name,
        key.created,
        f"{key.expires or 'never'}{expired}",
        str(key.max_concurrency or "any"),
        "any" if key.max_cost_per_day is None else f"${key.max_cost_per_day:g}",
        ",".join(key.tool_modes) or "none",
        "yes" if key.web_search else "no",
        ",".join(key.models) or "all",
        ",".join(key.folders),
    )


def _read(name: str, convert: Callable[[str], Any], raw: str | None) -> Any:
    try:
        return None if raw is None else convert(raw)
    except ValueError as error:
        raise ConfigError(f"--{name.replace('_', '-')}: {raw!r} {error}") from None


def _expiry(raw: str) -> str:
    found = _DURATION.fullmatch(raw)
    if found:
        hours = int(found[1]) * (24 if found[2] == "d" else 1)
        return iso(time.time() + timedelta(hours=hours).total_seconds())
    try:
        when = datetime.fromisoformat(raw).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise ValueError("is no time; expected a form such as 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z") from None
    if when <= time.time():
        raise ValueError("is in the past")
    return iso(when)


# Those of a new key, which are flags and members of `Key`.
_LIMITS: Final[Mapping[str, Callable[[str], Any]]] = {
    "expires": _expiry,
    "models": several(text),
    "tool_modes": several(choice(*TOOL_MODES)),
    "folders": several(lambda raw: str(file(raw))),
    "web_search": bool,
    "max_concurrency": whole(1),
    "max_cost_per_day": above_zero(),
}
