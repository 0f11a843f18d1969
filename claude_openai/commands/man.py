"""`claude-openai man`: the manual page, generated from the parsers as roff source."""

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from claude_openai._version import __version__
from claude_openai.commands.table import COMMANDS, command_parser, complete_parser
from claude_openai.config import SETTINGS
from claude_openai.config.setting import Parser

__all__ = ["page", "parser", "run"]

EXIT_CODES = {
    "0": "success",
    "1": "failure, such as a failed start",
    "2": "a bad flag, variable or command",
    "130": "the command was interrupted with Ctrl-C",
    "141": "the reader of the output has closed it",
    "128+N": "a second signal N ended the server at once, or signal N interrupted its start in the background",
}
FILES = {
    "~/.claude-openai/": "log, captured output of runs, and environment file of the service",
    "$TMPDIR/claude-openai.pid": "lock of the running server; beside it are .port and .json",
}


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    return command_parser(
        "man", "Print the manual page. To install it: claude-openai man > ~/.local/share/man/man1/claude-openai.1"
    )


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the page."""
    parser().parse_args(list(argv))
    print("\n".join(page()))
    return 0


def page() -> Iterator[str]:
    """Return the lines of the page, in the macros of man(7)."""
    main, commands = complete_parser()
    yield f'.TH CLAUDE\\-OPENAI 1 "" "claude\\-openai {__version__}" "User Commands"'
    yield from (".nh", ".ad l")  # a hyphen at the end of a line could belong to a flag
    yield from _section("name", r"claude\-openai \- a local server that lets any OpenAI client use Claude Code")
    yield from _section("synopsis", r"\fBclaude\-openai\fR [\fICOMMAND\fR] [\fIflags\fR]")
    yield from _section("description", "Without a command the server starts in the foreground.")
    yield _text("Flags win over environment variables, and these over defaults.")
    yield from _section("commands")
    for name, command in commands.items():
        yield f'.SS "{_text(name)}"'
        for line in filter(None, str(command.description).splitlines()):
            yield from (_text(line), ".PP")
        yield from _flags(action for action in command._actions if not _is_of_server(action))
        yield from (".PP", "Example:", rf"\fB{_text(f'claude-openai {COMMANDS[name].example}')}\fR")
    yield from _section("options")
    for group in main._action_groups:
        if group._group_actions:
            yield f'.SS "{_text(str(group.title).capitalize())}"'
            yield from [_text(group.description)] if group.description else []
            yield from _flags(group._group_actions)
    yield from _section("exit status")
    yield from _entries(EXIT_CODES)
    yield from _section("files")
    yield from _entries(FILES)


def _section(title: str, *lines: str) -> Iterator[str]:
    yield f'.SH "{title.upper()}"'
    yield from lines


def _entries(entries: Mapping[str, str]) -> Iterator[str]:
    for name, meaning in entries.items():
        yield from (".TP", f".B {_text(name)}", _text(meaning))


def _flags(actions: Iterable[argparse.Action]) -> Iterator[str]:
    """Yield an entry for each argument whose help is shown."""
    for action in actions:
        if action.help is None or action.help == argparse.SUPPRESS:
            continue
        names = action.option_strings or [str(action.metavar)]
        shown = ", ".join(rf"\fB{_text(name)}\fR" for name in names)
        if action.option_strings and action.metavar:
            value = rf"\fI{_text(str(action.metavar))}\fR"
            shown += f" [{value}]" if action.nargs == "?" else f" {value}"
        yield from (".TP", shown, _text(action.help.replace("%%", "%")))


def _is_of_server(action: argparse.Action) -> bool:
    """Return whether an argument is a flag of the server, or --help, which is the same for each command."""
    of_server = {setting.flag for setting in SETTINGS} | {"-h", "--help-all"}
    return any(flag in of_server for flag in action.option_strings)


def _text(text: str) -> str:
    """Escape text for roff, on one line that does not begin with a request."""
    joined = " ".join(text.split())
    escaped = joined.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace('"', r"\(dq")
    return re.sub(r"^\.", r"\&.", escaped)
