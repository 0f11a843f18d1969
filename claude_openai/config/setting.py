"""What a setting is: its flag, its variables, its default and its help, and how they are read and shown.

Knows no setting by name but the key, which is never shown; the table of them is in `config`.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from claude_openai.errors import ConfigError

__all__ = ["Parser", "Setting", "with_flags"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: where it comes from, how it is read, what its help says.

    Attributes:
        name: its own name, from which the flag and the variable are made.
        field: the field of Config it sets. Two settings for one field are two ways to give it, and exclude each other.
        variables: environment variables, the first that is set and not empty counts.
        convert: text to value; raises ValueError with what would be right.
        metavar: shown in --help; "" for a switch.
        default: the value if none is given; for `of_command`, its text.
        flag: the flag, "" if there is none.
        of_command: a default for the command line only, as text; "" to use Config's.
        is_foreign: whether the value of a variable, given by its name, was set for another program; it is ignored.
    """

    name: str
    field: str
    variables: tuple[str, ...]
    convert: Callable[[str], Any]
    metavar: str
    help: str
    default: Any
    flag: str = ""
    of_command: str = ""
    is_foreign: Callable[[str, str], bool] = lambda _name, _value: False

    @property
    def shown_default(self) -> str:
        """The default as one would type it, "" if there is none."""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, tuple):
            return ",".join(self.default)
        return "" if self.default is None else str(self.default)

    @property
    def label(self) -> str:
        return " / ".join(([self.flag] if self.flag else []) + [" or ".join(self.variables)])

    def find(self, flag_value: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
        """The text given for this setting and the flag or variable it came from; (None, "") if it was not given."""
        if flag_value is not None:
            return flag_value, self.flag
        for name in self.variables:
            value = environ.get(name)
            if value and not self.is_foreign(name, value):
                return value, name
        return None, ""

    def ignored(self, environ: Mapping[str, str]) -> list[tuple[str, str]]:
        """A sentence and a hint for each of its variables whose value was set for another program."""
        found = [(name, environ[name]) for name in self.variables if environ.get(name)]
        return [
            (f"{name}={value!r} is ignored: it was not set for this program", f"use {self.flag}")
            for name, value in found
            if self.is_foreign(name, value)
        ]

    def read(self, raw: str, source: str) -> Any:
        try:
            return self.convert(raw)
        except ValueError as error:
            shown = "the value given" if self.name == "api_key" else repr(raw)
            raise ConfigError(f"{self.label}: {shown} (from {source}) {error}") from None


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are a ConfigError of one line."""

    def __init__(
        self,
        prog: str = "claude-openai",
        description: str = "A local server that lets any OpenAI client use Claude Code.",
        **others: Any,
    ) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, **others)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{' '.join(message.split())} ({self.prog} --help lists the flags)")


def with_flags(parser: argparse.ArgumentParser, settings: Iterable[Setting]) -> argparse.ArgumentParser:
    """The parser, with a flag for each setting that has one."""
    from claude_openai._version import __version__

    parser.add_argument("--version", action="version", version=f"claude-openai {__version__}")
    for setting in settings:
        if setting.flag:
            _add_flag(parser, setting)
    return parser


def _add_flag(parser: argparse.ArgumentParser, setting: Setting) -> None:
    shown = f"; default {setting.shown_default}" if setting.metavar and setting.shown_default else ""
    text = f"{setting.help} [{' or '.join(setting.variables)}{shown}]".replace("%", "%%")
    if setting.metavar:
        parser.add_argument(setting.flag, dest=setting.name, metavar=setting.metavar, help=text)
    else:
        no_flag = "--no-" + setting.flag.removeprefix("--")
        parser.add_argument(setting.flag, dest=setting.name, nargs="?", const="1", metavar="yes|no", help=text)
        parser.add_argument(no_flag, dest=setting.name, action="store_const", const="0", help=argparse.SUPPRESS)
