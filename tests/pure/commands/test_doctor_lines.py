"""The lines of `doctor` on a terminal break between words; in a pipe they do not break."""

import sys

import pytest

from claude_openai.commands.doctor import command
from claude_openai.commands.doctor.checks import Finding

FOUND = "'/home/somebody/a-folder-with-a-long-name/that-is-wider-than-the-terminal' cannot be written: it is full"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_line_breaks_between_words_on_a_terminal_only(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", "60")
    command._show(Finding("log", "FAIL", FOUND, "use another --log-file"), width=12)
    lines = capsys.readouterr().out.splitlines()
    if not is_terminal:
        assert lines == [f"FAIL     log          {FOUND}", f"{' ' * 22}-> use another --log-file"]
        return
    assert " ".join(lines).split() == f"FAIL log {FOUND} -> use another --log-file".split()
    assert max(len(line) for line in lines if "/home" not in line) <= 60
