"""`claude-openai forget`: empty the file of stored responses, and the memory and the store of the running server."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from claude_openai.commands import command_parser
from claude_openai.commands.instance import control_client as control
from claude_openai.commands.instance.record import find_instance, instance_folder
from claude_openai.config import SETTINGS
from claude_openai.config.setting import Parser
from claude_openai.errors import StartError

__all__ = ["parser", "run"]

_SETTING: Final = next(setting for setting in SETTINGS if setting.name == "responses_file")


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser(
        "forget",
        "Forget stored responses and kept answers, in the memory and the store of the running server, and in a file.",
    )
    help_text = f"empty this file too; without a running server, by default the file of {_SETTING.variables[0]}"
    parser.add_argument(_SETTING.flag, dest=_SETTING.name, metavar=_SETTING.metavar, help=help_text)
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    options = parser().parse_args(list(argv))
    instance = find_instance(instance_folder(environ))
    if instance is not None:
        counts = control.post_json(instance, "/control/forget")
        print(
            f"server (pid {instance.pid}): forgot {counts['responses']} responses, {counts['items']} items and "
            f"{counts['answers']} answers in memory, and {counts['stored']} values in its store"
        )
    path = _path(options.responses_file, environ) if instance is None or options.responses_file else None
    if path is not None:
        print(f"{path}: forgot {_empty(path)} values")
    elif instance is None:
        print(f"no server is running, and no {_SETTING.flag} is set: nothing is stored")
    return 0


def _path(flag: str | None, environ: Mapping[str, str]) -> Path | None:
    raw, source = _SETTING.find(flag, environ)
    path: Path | None = None if raw is None else _SETTING.read(raw, source)
    return path


def _empty(path: Path) -> int:
    # Imported here: the other commands start without trio and SQLite.
    import trio

    from claude_openai.state.file import FileState
    from claude_openai.state.store import StateError

    async def clear() -> int:
        return await FileState(path).clear()

    try:
        return trio.run(clear)
    except StateError as error:
        raise StartError(f"cannot empty the file: {error}") from None
