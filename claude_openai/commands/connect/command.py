"""`connect`: the configuration that makes a client use this server, printed, or merged into the client's file.

On standard output is the configuration and nothing else, so that it can go into a file or a shell; what to do with it
is on standard error.
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
from claude_openai.commands.connect.config_files import read_config, replace_config
from claude_openai.commands.connect.merging import MergeRefused, merged
from claude_openai.commands.instance.health import models_of
from claude_openai.commands.instance.record import find_instance, instance_folder
from claude_openai.config import config_from, is_loopback, local_url
from claude_openai.errors import ConfigError

__all__ = ["run"]

DEFAULT_MODEL: Final = "claude-sonnet"
PORT: Final = 8000


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the configuration of a client, or write it; without a client, list them all."""
    parser = command_parser("connect", "Without a client it lists those it knows.")
    parser.add_argument("client", metavar="CLIENT", nargs="?", help=", ".join(CLIENTS))
    parser.add_argument(
        "--write", action="store_true", help="merge it into the client's file; a backup stays beside it"
    )
    parser.add_argument(
        "--global", dest="is_global", action="store_true", help="your own file, where a project can have one, too"
    )
    parser.add_argument("--url", metavar="URL", help="of the server (none: that of the one that runs)")
    parser.add_argument(
        "--model", metavar="NAME", default=DEFAULT_MODEL, help=f"what the client asks for [{DEFAULT_MODEL}]"
    )
    given = parser.parse_args(list(argv))
    if given.client is None:
        if given.write:
            raise ConfigError("connect: --write needs a client (claude-openai connect lists them)")
        _list()
        return 0
    client = CLIENTS.get(given.client)
    if client is None:
        raise ConfigError(f"connect: {given.client!r} is not a client it knows (claude-openai connect lists them)")
    if not is_model_name(given.model):
        raise ConfigError(f"--model: {given.model!r} is not the name of a model")
    target = _target(given.url, given.model, environ)
    places = Places(_home(), Path.cwd(), environ, given.is_global)
    path = None if client.place is None else client.place(places)
    if given.write:
        _write(given.client, client, target, path)
    else:
        _print(given.client, client, target, path)
    return 0


def _list() -> None:
    for name, client in CLIENTS.items():
        print(f"{name:<10}{client.title}")
    print("\nclaude-openai connect CLIENT prints its configuration; --write puts it in place", file=sys.stderr)


def _target(url: str | None, model: str, environ: Mapping[str, str]) -> Target:
    """The server that is named, or runs, or would run."""
    if url is None:
        instance = find_instance(instance_folder(environ))
        if instance is not None:
            usual = Target(f"{instance.base_url}/v1", model, instance.has_api_key)
            models = by_id(models_of(instance, environ.get(KEY_VARIABLE)))
            return replace(usual, models=models) if models else usual
    config = config_from([], environ)
    has_key = config.api_key is not None
    if url is None:
        return Target(f"{local_url(config.host, config.port or PORT)}/v1", model, has_key)
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_whole = False
    if not is_whole or parts.username or parts.query or parts.fragment or not re.fullmatch(r"[!-~]+", url):
        raise ConfigError(f"--url: {url!r} is not the URL of a server", hint="it looks like http://127.0.0.1:8000")
    base = url.rstrip("/").removesuffix("/v1")
    return Target(f"{base}/v1", model, has_key or not is_loopback(parts.hostname or ""))


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise ConfigError("there is no home folder", hint="set HOME") from None


def _print(name: str, client: Client, target: Target, path: Path | None) -> None:
    print(client.text(target), end="", flush=True)
    if path is not None:
        _say(f"# This belongs into {path}; `claude-openai connect {name} --write` puts it there.")
    _say_usage(client, target)


def _write(name: str, client: Client, target: Target, path: Path | None) -> None:
    if path is None:
        raise ConfigError(f"connect: {name} has no file to write into", hint="leave --write out, and see what it needs")
    text = client.text(target)
    try:
        old = read_config(path)
        new, kept = merged(client.form, old.text, text, client.own)
        if old.status is not None and new == old.text:
            print(f"already connected: {path}")
        else:
            backup = replace_config(old, new)
            print(f"connected: {path}")
            if backup is not None:
                print(f"backup: {backup}")
    except MergeRefused as error:
        print(text, end="", flush=True)
        raise MergeRefused(f"{path} is left as it is: {error}", hint="add by hand what is printed above") from None
    for key in kept:
        _say(f"# {key} is yours, and stays as it is.")
    _say_usage(client, target)


def _say_usage(client: Client, target: Target) -> None:
    if target.needs_key and client.form != "text":
        _say(f"# The key of the server is expected in {KEY_VARIABLE}; it is written nowhere.")
    lines = client.usage(target)
    if lines:
        _say("# Then:", *lines)


def _say(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)
