"""`connect`: print a client's configuration, merge it into the client's file, or remove it again.

The configuration is all of standard output, so that it can be piped to a file or a shell; hints go to standard error.
With --write, --remove and --dry-run standard output lists the changes.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from claude_openai.commands import command_parser
from claude_openai.commands.connect.client_texts import KEY_VARIABLE, Target, by_id, is_model_name
from claude_openai.commands.connect.clients import CLIENTS, Client, Places
from claude_openai.commands.connect.connecting import Outcome, disconnect, write_client
from claude_openai.commands.connect.documents import MergeRefused
from claude_openai.commands.connect.merging import shown
from claude_openai.commands.instance.health import models_of
from claude_openai.commands.instance.record import find_instance, instance_folder
from claude_openai.config import config_from, is_loopback, local_url
from claude_openai.config.addresses import UNIX
from claude_openai.config.setting import Parser
from claude_openai.config.suggestions import did_you_mean
from claude_openai.errors import ConfigError

__all__ = ["parser", "run"]

DEFAULT_MODEL: Final = "claude-sonnet"
PORT: Final = 8000


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser(
        "connect",
        "Print or write the configuration for a client of this server. Without CLIENT, list the clients.",
    )
    parser.add_argument("client", metavar="CLIENT", nargs="?", help=f"one of {', '.join(CLIENTS)}")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="merge the configuration into the file of the client")
    action.add_argument("--remove", action="store_true", help="undo the changes of --write")
    parser.add_argument("--dry-run", action="store_true", help="with --write or --remove: only print a diff")
    parser.add_argument(
        "--global",
        dest="is_global",
        action="store_true",
        help="use the file of your user instead of the project's",
    )
    parser.add_argument("--url", metavar="URL", help="URL of the server (default: that of the running server)")
    parser.add_argument(
        "--model", metavar="NAME", default=DEFAULT_MODEL, help=f"model to configure (default: {DEFAULT_MODEL})"
    )
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the configuration of a client, write it or remove it; without a client, list the clients."""
    options = parser().parse_args(list(argv))
    if options.client is None:
        if options.write or options.remove or options.dry_run:
            raise ConfigError("connect: missing CLIENT", hint="run `claude-openai connect` for a list")
        _list()
        return 0
    client = CLIENTS.get(options.client)
    if client is None:
        hint = did_you_mean(options.client, CLIENTS) or f"expected one of {', '.join(CLIENTS)}"
        raise ConfigError(f"connect: unknown client: {options.client!r}", hint=hint)
    if options.dry_run and not (options.write or options.remove):
        raise ConfigError("connect: --dry-run requires --write or --remove")
    if not is_model_name(options.model):
        raise ConfigError(f"--model: invalid model name: {options.model!r}")
    places = Places(_home(), Path.cwd(), environ, options.is_global)
    path = None if client.place is None else client.place(places)
    if not (options.write or options.remove):
        _print(options.client, client, _target(options.url, options.model, environ), path)
        return 0
    if path is None:
        raise ConfigError(
            f"connect: the settings of {options.client} are not in a file that can be written",
            hint=f"run `claude-openai connect {options.client}` for instructions",
        )
    within = None if options.is_global or path.parent != places.project else places.project
    if options.remove:
        _remove(options.client, client, path, within, dry=options.dry_run)
    else:
        _write(options.client, client, _target(options.url, options.model, environ), path, within, dry=options.dry_run)
    return 0


def _list() -> None:
    for name, client in CLIENTS.items():
        print(f"{name:<10}{client.title}")
    print("\nclaude-openai connect CLIENT prints its configuration; --write puts it in place", file=sys.stderr)


def _target(url: str | None, model: str, environ: Mapping[str, str]) -> Target:
    """Return the server at the URL. Without a URL: the running server, or what these variables configure."""
    if url is None:
        instance = find_instance(instance_folder(environ))
        if instance is not None and not instance.base_url.startswith(UNIX):
            usual = Target(f"{instance.base_url}/v1", model, instance.needs_key)
            models = by_id(models_of(instance, environ.get(KEY_VARIABLE)))
            return replace(usual, models=models) if models else usual
    config = config_from([], environ)
    has_key = config.needs_key
    if url is None:
        assumed = local_url(config.host, config.port or PORT)
        _say(f"# No server is running on a port; the address {assumed} and the usual models are assumed.")
        return Target(f"{assumed}/v1", model, has_key)
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_whole = False
    if not is_whole or parts.username or parts.query or parts.fragment or not re.fullmatch(r"[!-~]+", url):
        raise ConfigError(f"--url: invalid URL of a server: {url!r}", hint="use a URL such as http://127.0.0.1:8000")
    base = url.rstrip("/").removesuffix("/v1")
    return Target(f"{base}/v1", model, has_key or not is_loopback(parts.hostname or ""))


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise ConfigError("the home folder is unknown", hint="set HOME") from None


def _print(name: str, client: Client, target: Target, path: Path | None) -> None:
    print(client.text(target), end="", flush=True)
    if path is not None:
        _say(f"# Put this in {path}, or run `claude-openai connect {name} --write`.")
    _say_usage(client, target)


def _write(name: str, client: Client, target: Target, path: Path, within: Path | None, *, dry: bool) -> None:
    try:
        outcome = write_client(name, client, target, path, within, dry=dry)
    except MergeRefused as error:
        hint = f"correct the file and try again, or add what `claude-openai connect {name}` prints yourself"
        raise MergeRefused(f"{path} was not changed: {error}", hint=hint) from None
    if dry:
        print(outcome.diff(), end="")
        return
    print(f"connected: {path}" if outcome.is_change else f"already connected, nothing changed: {path}")
    _print_changes(outcome)
    if outcome.is_change:
        _say(f"# To undo this: claude-openai connect {name} --remove")
    _say_usage(client, target)


def _remove(name: str, client: Client, path: Path, within: Path | None, *, dry: bool) -> None:
    try:
        outcome = disconnect(name, client, path, within, dry=dry)
    except MergeRefused as error:
        raise MergeRefused(f"{path} was not changed: {error}") from None
    if outcome is None:
        print(f"nothing to remove: connect has not written to {path}")
    elif dry:
        print(outcome.diff(), end="")
    else:
        print(f"removed: {path}" if outcome.after is None else f"disconnected: {path}")
        _print_changes(outcome)


def _print_changes(outcome: Outcome) -> None:
    for what, paths in outcome.changes.items():
        for path in paths:
            # The values of a mapping that is listed are not listed too.
            if not any(path[:length] in paths for length in range(1, len(path))):
                print(f"  {what}: {shown(path)}{' (your value)' if what == 'left' else ''}")


def _say_usage(client: Client, target: Target) -> None:
    if target.needs_key and client.form != "text":
        _say(f"# Set {KEY_VARIABLE} to the key of the server; connect writes the key to no file.")
    lines = client.usage(target)
    if lines:
        _say("# Next:", *lines)


def _say(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)
