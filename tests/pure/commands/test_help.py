"""`claude-openai help`: the topics, their pages, and what a terminal shows."""

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from claude_openai import commands
from claude_openai.commands.help import DOCS, for_terminal, topics
from claude_openai.commands.table import COMMANDS

PAGES = {path.stem: path.read_text("utf-8") for path in DOCS.glob("*.md")}


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert commands.main(["help", *argv], {}) == 0
    return capsys.readouterr().out


def test_help_without_a_topic_lists_every_page_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    listed = re.findall(r"^  ([a-z-]+) +(\S.*)$", printed(capsys), re.MULTILINE)
    assert PAGES.keys() <= {name for name, _ in listed}
    assert all(len(f"  {name} {title}") < 80 for name, title in listed)


@pytest.mark.parametrize("topic", PAGES)
def test_help_with_a_topic_prints_its_page_without_comments(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = printed(capsys, topic)
    assert output.startswith(f"# {topics()[topic]}\n")
    assert "<!--" not in output
    assert set(re.findall(r"^#+ .*$", PAGES[topic], re.MULTILINE)) <= set(output.splitlines())


def test_help_with_a_command_prints_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        commands.main(["help", "stop"], {})
    assert not caught.value.code
    assert capsys.readouterr().out.startswith("usage: claude-openai stop")


def test_help_with_a_page_named_as_a_command_mentions_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert "runs" in COMMANDS
    assert "`claude-openai runs --help`" in printed(capsys, "runs")
    assert "--help` shows the flags" not in printed(capsys, "faq")


@pytest.mark.parametrize(
    ("topic", "near"),
    [("trubleshooting", "troubleshooting"), ("Client", "clients"), ("restat", "restart"), ("docter", "doctor")],
)
def test_help_with_an_unknown_topic_names_the_near_ones(
    topic: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["help", topic], {}) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"claude-openai: unknown help topic: {topic!r}; did you mean ")
    assert near in message


@pytest.mark.parametrize("topic", ["xyzzyq", "daemon", "../README"])
def test_help_with_a_topic_like_no_other_points_to_the_list(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["help", topic], {}) == 2
    assert "unknown help topic" in capsys.readouterr().err


@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("topic", PAGES)
def test_a_page_on_a_terminal_has_all_its_words_and_lines_that_fit(topic: str, width: int) -> None:
    text = for_terminal(PAGES[topic], width)
    code = "".join(re.findall(r"(?ms)^```\w*\n(.*?)^```$", PAGES[topic]))
    for line in text.splitlines():
        is_code = line.startswith("    ") and line[4:] in code.splitlines()
        assert is_code or len(line) <= width or " " not in line.strip(), line
    headings_of_tables = r"^\|.*\n(?=\|-)"  # a list has none for the first column
    prose = re.sub(rf"<!--.*?-->|\]\([^)]*\)|{headings_of_tables}|^```.*$", "", PAGES[topic], flags=re.MULTILINE)
    words = set(re.findall(r"[a-z_]{4,}", prose.lower()))
    assert words <= set(re.findall(r"[a-z_]{4,}", text.lower()))


def test_help_on_a_terminal_shows_the_page_in_the_pager_of_the_user(tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    environ = {**os.environ, "PAGER": f"cat > '{shown}'", "TERM": "xterm", "COLUMNS": "60"}
    environ.pop("MANPAGER", None)
    master, slave = pty.openpty()
    try:
        termios.tcsetwinsize(slave, (40, 60))
        command = [sys.executable, "-m", "claude_openai", "help", "faq"]
        subprocess.run(command, env=environ, stdin=slave, stdout=slave, stderr=slave, timeout=60, check=True)
    finally:
        os.close(master)
        os.close(slave)
    assert shown.read_text("utf-8").rstrip("\n") == for_terminal(PAGES["faq"], 60).rstrip("\n")


def test_code_on_a_terminal_keeps_its_blank_lines_and_spaces() -> None:
    text = for_terminal("# A\n\nText:\n\n```sh\nfirst  # one\n\nsecond\n```\n\nMore.\n", 20)
    assert text == "A\n\nText:\n\n    first  # one\n    \n    second\n\nMore.\n\n"


def test_a_wide_table_on_a_terminal_is_a_list_of_its_rows() -> None:
    page = "| You see | Meaning | Do |\n|---|---|---|\n| `a b` | it is full | see [Runs](runs.md#x) |\n"
    assert for_terminal(page, 80) == (
        "You see  Meaning     Do\n`a b`    it is full  see Runs (claude-openai help runs)\n\n"
    )
    assert for_terminal(page, 40) == (
        "`a b`\n    Meaning: it is full\n    Do: see Runs (claude-openai help\n      runs)\n\n"
    )


def test_a_word_that_is_no_topic_is_searched_for_in_the_pages(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["help", "insufficient_quota"], {}) == 2
    hint = capsys.readouterr().err.partition("pages that mention it: ")[2]
    assert "troubleshooting" in hint
