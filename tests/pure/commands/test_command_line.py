"""The table of commands: help, suggestions, completion scripts and the manual page."""

import os
import re
import select
import shutil
import subprocess
from pathlib import Path

import pytest

from claude_openai import __version__, commands
from claude_openai.commands.completion import SHELLS, script
from claude_openai.commands.man import page
from claude_openai.commands.table import visible_commands
from claude_openai.commands.version import print_versions
from claude_openai.config import SETTINGS
from tests.conditions import needs

LIMIT_S = 60


def output(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0, **environ: str) -> str:
    """What a command prints; its exit code is checked."""
    try:
        assert commands.main(argv, environ) == code
    except SystemExit as exited:
        assert not exited.code  # noqa: PT017 - --help and --version
    shown = capsys.readouterr()
    return shown.err if code else shown.out


def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = output(capsys, "--help").splitlines()
    assert len(lines) <= 52
    assert max(map(len, lines)) <= 80
    for name, command in visible_commands().items():
        assert any(
            line.startswith(f"  {name} ") and line.endswith(f" claude-openai {command.example}") for line in lines
        )


@pytest.mark.parametrize("name", visible_commands())
def test_help_of_a_command_is_short(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = output(capsys, name, "--help").splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 90


@pytest.mark.parametrize("name", [name for name, command in visible_commands().items() if command.takes_server_flags])
def test_help_all_of_a_command_shows_the_flags_of_the_server(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, name, "--help-all")
    assert all(setting.flag in shown for setting in SETTINGS)


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["statsu"], "unknown command: 'statsu'; did you mean status?"),
        (["deamon"], "unknown command: 'deamon'; `claude-openai --help`"),
        (["status", "--jsn"], "unknown flag: '--jsn'; did you mean --json?"),
        (["restart", "--prot", "1"], "did you mean --port?"),
        (["connect", "opncode"], "unknown client: 'opncode'; did you mean opencode?"),
        (["connect", "xyzzy"], "expected one of opencode, "),
        (["completion", "bsh"], "unknown shell: 'bsh'; did you mean bash?"),
    ],
)
def test_mistyped_word_gets_a_suggestion(
    argv: list[str], hint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert hint in output(capsys, *argv, code=2, TMPDIR=str(tmp_path))


# Command lines, and words that their completion offers, beside others.
COMPLETED = [
    ("st", {"status", "stop", "start"}),
    ("--po", {"--port"}),
    ("--log-level d", {"debug"}),
    ("--confine ", {"auto", "require", "off"}),
    ("connect open", {"opencode", "openai"}),
    ("status --j", {"--json"}),
    ("restart --max-c", {"--max-concurrency"}),
    ("--demo --po", {"--port"}),
    ("completion z", {"zsh"}),
]

BASH = """
eval "$1"
COMP_WORDS=(claude-openai ${2% *} "${2##* }"); [ "${2% *}" != "$2" ] || COMP_WORDS=(claude-openai "$2")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p claude-openai | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" claude-openai "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
# `zsh -f` has no completion.
ZSH = (
    'autoload -U compinit; compinit -D -u; eval "$1"; print -- $_comps[claude-openai]; whence -w $_comps[claude-openai]'
)


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@needs("bash")
@pytest.mark.parametrize(("line", "words"), COMPLETED)
def test_bash_completes(line: str, words: set[str]) -> None:
    assert words <= set(run("bash", "--norc", "-c", BASH, "bash", script("bash"), line).split())


@needs("fish")
@pytest.mark.parametrize(("line", "words"), COMPLETED)
def test_fish_completes(line: str, words: set[str], tmp_path: Path) -> None:
    file = tmp_path / "claude-openai.fish"
    file.write_text(script("fish"))
    shown = run("fish", "--no-config", "-c", f"source {file}; complete -C 'claude-openai {line}'")
    assert words <= {row.split("\t")[0] for row in shown.splitlines()}


@needs("zsh")
def test_zsh_takes_the_script() -> None:
    function = "_shtab_claude_openai"
    assert run("zsh", "-f", "-c", ZSH, "zsh", script("zsh")) == f"{function}\n{function}: function\n"
    assert all(setting.flag in script("zsh") for setting in SETTINGS)


# Each shell's file of start-up commands; "ready" is printed before the first prompt.
TERMINALS = {
    "bash": (("bash", "--rcfile", "{home}/.bashrc", "-i"), ".bashrc", 'eval "$(< {script})"; echo ready\n'),
    "zsh": (
        ("zsh", "-d", "-i"),
        ".zshrc",
        'autoload -U compinit; compinit -D -u; eval "$(< {script})"; echo ready\n',
    ),
}


def read_until(terminal: int, words: set[str]) -> str:
    """Return what a terminal shows, once each of the words was shown."""
    shown = b""
    while not words <= set(re.findall(r"[a-z]+", shown.decode(errors="replace"))):
        assert select.select([terminal], [], [], LIMIT_S)[0], shown
        shown += os.read(terminal, 4096)
    return shown.decode(errors="replace")


@pytest.mark.parametrize("shell", [pytest.param(shell, marks=needs(shell)) for shell in TERMINALS])
def test_tab_key_in_a_terminal_lists_the_commands(shell: str, tmp_path: Path) -> None:
    argv, file, start = TERMINALS[shell]
    (tmp_path / "script").write_text(script(shell))
    (tmp_path / file).write_text(start.format(script=tmp_path / "script"))
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    terminal, inner = os.openpty()
    try:
        with subprocess.Popen(
            [word.format(home=tmp_path) for word in argv],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=env,
            start_new_session=True,
        ) as process:
            try:
                read_until(terminal, {"ready"})
                os.write(terminal, b"claude-openai st\t\t")
                read_until(terminal, {"start", "status", "stop"})
            finally:
                process.kill()
    finally:
        os.close(inner)
        os.close(terminal)


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "completion", shell) == script(shell)


def test_manual_page_has_every_command_flag_and_variable() -> None:
    text = "\n".join(page()).replace(r"\-", "-")
    for setting in SETTINGS:
        assert all(name in text for name in (setting.flag, *setting.variables))
    for name, command in visible_commands().items():
        assert f'.SS "{name}"' in text
        assert f"claude-openai {command.example}" in text


@needs("groff")
def test_manual_page_is_valid() -> None:
    groff = shutil.which("groff") or ""
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", "-z"],
        input="\n".join(page()) + "\n",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def program(folder: Path, text: str) -> str:
    path = folder / "claude"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize("argv", [["--version"], ["-V"], ["version"]])
def test_version_has_claude_codes_version_too(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claude = program(tmp_path, "echo '9.8.7 (Claude Code)'")
    expected = f"claude-openai {__version__}\nClaude Code 9.8.7 ({claude})\n"
    assert output(capsys, *argv, CLAUDE_COMMAND=claude) == expected
    assert output(capsys, "--claude-command", claude, "--version") == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("exit 3", "did not print its version, exit code 3 ("),
        ("echo hello", "did not print its version, exit code 0 ("),
    ],
)
def test_version_of_a_broken_claude_code(
    text: str, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claude = program(tmp_path, text)
    lines = output(capsys, "--version", CLAUDE_COMMAND=claude).splitlines()
    assert lines == [f"claude-openai {__version__}", f"Claude Code {shown}{claude})"]


def test_version_without_claude_code(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, "--version", CLAUDE_COMMAND="/nowhere/claude").splitlines()
    assert lines[0] == f"claude-openai {__version__}"
    assert lines[1].startswith("Claude Code was not found: ")


def test_version_does_not_wait_for_a_claude_code_that_hangs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claude = program(tmp_path, f"exec sleep {LIMIT_S}")
    print_versions(claude, os.environ, timeout_s=0.5)
    assert f"Claude Code did not answer within 0.5 s ({claude})" in capsys.readouterr().out
