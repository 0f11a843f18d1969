"""A setting: its flag, variables, default, help and converter.

The table of all settings is in `config.table`.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NoReturn

from claude_openai.config.suggestions import did_you_mean
from claude_openai.errors import ConfigError

__all__ = ["HELP_ALL", "SWITCH_METAVAR", "Parser", "Setting", "with_flags"]

HELP_ALL: Final = "--help-all"
SWITCH_METAVAR: Final = "yes|no"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: its name; the flag and the variable are derived from it.
        field: the field of Config that it sets. Two settings with one field exclude each other.
        variables: environment variables; the first that is set and not empty counts.
        convert: converts a text to the value; raises ValueError with the reason and the expected form.
        metavar: placeholder of the value in the help; "" for a switch.
        help: the help text, with the unit of the value.
        default: the value if neither flag nor variable is set; the text of `of_command` if that is not "".
        flag: the flag, "" if there is none.
        of_command: a default for the command line only, as text; "" to use Config's.
        is_foreign: whether a variable, as name and value, was set for another program; it is then ignored.
        choices: the values that `convert` accepts, if they are a fixed set.
        group: title of its group of flags in the help.
        is_common: whether the short help shows it.
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
    choices: tuple[str, ...] = ()
    group: str = ""
    is_common: bool = False

    @property
    def shown_default(self) -> str:
        """The default in the form of a flag's value, "" if there is none."""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, tuple):
            return ",".join(self.default)
        return "" if self.default is None else str(self.default)

    @property
    def label(self) -> str:
        """The flag and the variables, for error messages."""
        return " / ".join(([self.flag] if self.flag else []) + [" or ".join(self.variables)])

    def find(self, flag_value: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
        """Return the text of this setting, and its source: the flag or a variable. (None, "") if it is not set."""
        if flag_value is not None:
            return flag_value, self.flag
        for name in self.variables:
            value = environ.get(name)
            if value and not self.is_foreign(name, value):
                return value, name
        return None, ""

    def ignored(self, environ: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return a sentence and a hint for each variable of this setting that was set for another program."""
        found = [(name, environ[name]) for name in self.variables if environ.get(name)]
        return [
            (f"{name}={value!r} is ignored: it was not set for this program", f"use {self.flag}")
            for name, value in found
            if self.is_foreign(name, value)
        ]

    def read(self, raw: str, source: str) -> Any:
        """Convert a text.

        Raises:
            ConfigError: the text is not a value of this setting.
        """
        try:
            return self.convert(raw)
        except ValueError as error:
            shown = "the value" if self.name in ("api_key", "state_url") else repr(raw)
            raise ConfigError(f"{self.label}: {shown} (from {source}) {error}") from None


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises ConfigError, with a suggestion for a mistyped flag."""

    def __init__(
        self,
        prog: str = "claude-openai",
        description: str = "A local server that lets any OpenAI client use Claude Code.",
        **others: Any,
    ) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, formatter_class=_Formatter, **others)

    def parse_args(  # type: ignore[override]  # the overloads differ only in the namespace
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Parse flags.

        Raises:
            ConfigError: an argument is invalid; one line that names it, with the most similar flag as the hint.
        """
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self._reject(unknown)
        return parsed

    def error(self, message: str) -> NoReturn:
        raise ConfigError(" ".join(message.split()), hint=self._help_hint())

    def _reject(self, unknown: Sequence[str]) -> NoReturn:
        flags = [word for word in unknown if word.startswith("-")]
        if not flags:
            self.error(f"unexpected argument: {unknown[0]!r}")
        flag = flags[0].partition("=")[0]
        visible = (name for name in self._option_string_actions if name.startswith("--"))
        hint = did_you_mean(flag, visible)
        raise ConfigError(f"unknown flag: {flag!r}", hint=f"{hint} {self._help_hint()}".strip())

    def _help_hint(self) -> str:
        every = HELP_ALL if HELP_ALL in self._option_string_actions else "--help"
        return f"`{self.prog} {every}` lists the flags"


def with_flags(parser: Parser, settings: Iterable[Setting], *, every: bool = False) -> Parser:
    """Add a flag to the parser for each setting that has one, in the groups of the table.

    Args:
        parser: gets the flags.
        settings: the table.
        every: whether the help shows all flags, with their variables, instead of the common ones.
    """
    parser.add_argument(HELP_ALL, action="help", help="show all flags, with their environment variables")
    for title, members in groupby(settings, lambda setting: setting.group):
        in_group = list(members)
        flagless = [f"{setting.label}: {_full_help(setting)}" for setting in in_group if not setting.flag]
        group = parser.add_argument_group(title, " ".join(flagless) if every and flagless else None)
        for setting in in_group:
            if setting.flag:
                _add_flag(group, setting, every=every)
    return parser


def _add_flag(group: "argparse._ArgumentGroup", setting: Setting, *, every: bool) -> None:
    if every:
        text = _full_help(setting)
    elif setting.is_common:
        has_default = setting.metavar and setting.shown_default
        text = setting.help + (f" (default: {setting.shown_default})" if has_default else "")
    else:
        text = argparse.SUPPRESS
    text = text.replace("%", "%%")
    if setting.metavar:
        group.add_argument(setting.flag, dest=setting.name, metavar=setting.metavar, help=text)
        return
    no_flag = "--no-" + setting.flag.removeprefix("--")
    group.add_argument(setting.flag, dest=setting.name, nargs="?", const="1", metavar=SWITCH_METAVAR, help=text)
    group.add_argument(no_flag, dest=setting.name, action="store_const", const="0", help=argparse.SUPPRESS)


def _full_help(setting: Setting) -> str:
    return f"{setting.help} (default: {setting.shown_default or 'none'}; {', '.join(setting.variables)})"


class _Formatter(argparse.HelpFormatter):
    """Keeps the lines of description and epilog, and breaks no word at a hyphen: flags and paths stay whole."""

    def __init__(self, prog: str, **others: Any) -> None:
        super().__init__(prog, max_help_position=26, **others)

    def _split_lines(self, text: str, width: int) -> list[str]:
        import textwrap

        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        # Indented lines, such as a list of commands, are not wrapped.
        lines = text.splitlines()
        return "\n".join(line if line.startswith(" ") else "\n".join(self._split_lines(line, width)) for line in lines)
