"""The folders that the command line of bubblewrap shows and hides; it is run by tests in `tests/real`."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from claude_openai.claude.walls.bubblewrap import NAMESPACES, View, enclosed

BWRAP: Final = "/usr/bin/bwrap"
ARGV: Final = ["/opt/claude", "--print"]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A home with secrets and a configuration, beside folders of a request and of the server."""
    top = Path(os.path.realpath(tmp_path))
    for folder in ("home/.ssh", "home/.claude", "home/.cargo/bin", "work", "more", "temporary", "state", "tools/bin"):
        (top / folder).mkdir(parents=True)
    for file in ("home/.claude.json", "home/.npmrc", "state/history.jsonl", "tools/bin/claude", "ca.pem"):
        (top / file).write_text("{}")
    return top


@pytest.fixture
def view(top: Path) -> View:
    return View(
        program=top / "tools/bin/claude",
        cwd=top / "work",
        writable=[top / "more"],
        readable=[top / "state/history.jsonl"],
        temporary=top / "temporary",
        hidden=[top / "state"],
    )


def mounts(line: list[str]) -> dict[str, tuple[str, ...]]:
    """Return path -> the flag and the source, in the order of the command line."""
    found: dict[str, tuple[str, ...]] = {}
    words = iter(line[1 + len(NAMESPACES) : line.index("--chdir")])
    for flag in words:
        if flag in ("--tmpfs", "--proc", "--dev", "--remount-ro"):
            path = next(words)
            found[path] = (flag,) if path not in found else (*found[path], flag)
        else:
            source = next(words)
            found[next(words)] = (flag, source)
    return found


def test_command_runs_in_its_folder_and_in_its_own_namespaces(top: Path, view: View) -> None:
    line = enclosed(BWRAP, ARGV, {"HOME": str(top / "home")}, view)
    assert line[: 1 + len(NAMESPACES)] == [BWRAP, *NAMESPACES]
    assert line[-5:] == ["--chdir", str(view.cwd), "--", *ARGV]
    assert line[line.index("--remount-ro") + 1] == "/"


def test_folders_of_the_request_are_writable_and_all_else_is_read_only_or_private(top: Path, view: View) -> None:
    shown = mounts(enclosed(BWRAP, ARGV, {"HOME": str(top / "home")}, view))
    assert shown[str(view.cwd)] == ("--bind-try", "/proc/self/cwd")
    assert shown[str(top / "more")] == ("--bind-try", str(top / "more"))
    assert shown[str(top / "state/history.jsonl")] == ("--ro-bind-try", str(top / "state/history.jsonl"))
    assert shown["/usr"] == ("--ro-bind-try", "/usr")
    assert shown[str(top / "home")] == ("--bind-try", str(view.temporary / "home"))
    assert shown[str(top / "home/.claude")] == ("--bind-try", str(view.temporary / "config"))
    assert shown[str(top / "home/.claude.json")] == ("--bind-try", str(view.temporary / "config/.claude.json"))
    assert (shown["/proc"], shown["/dev"], shown["/var/tmp"]) == (("--proc",), ("--dev",), ("--tmpfs",))  # noqa: S108
    assert "/run" not in shown
    depths = [len(Path(path).parts) for path in shown if path != "/"]
    assert depths == sorted(depths), "what is deeper is mounted later"


def test_home_as_an_allowed_folder_is_shown_without_its_secrets(top: Path, view: View) -> None:
    inside = replace(view, writable=[top / "home"])
    shown = mounts(enclosed(BWRAP, ARGV, {"HOME": str(top / "home")}, inside))
    assert shown[str(top / "home")] == ("--bind-try", str(top / "home"))
    assert shown[str(top / "home/.ssh")] == ("--tmpfs",)
    assert shown[str(top / "home/.npmrc")] == ("--dev-bind", os.devnull)


def test_hidden_folders_are_covered_inside_of_folders_that_are_shown(top: Path, view: View) -> None:
    shown = mounts(enclosed(BWRAP, ARGV, {"HOME": str(top / "home")}, replace(view, writable=[top])))
    assert shown[str(top / "state")] == ("--tmpfs",)


def test_programs_of_path_and_files_that_variables_name_are_shown(top: Path, view: View) -> None:
    folders = [top / "tools/bin", top / "home/.cargo/bin", top / "work", Path("relative")]
    env = {
        "HOME": str(top / "home"),
        "PATH": os.pathsep.join(map(str, folders)),
        "NODE_EXTRA_CA_CERTS": str(top / "ca.pem"),
        "SSL_CERT_FILE": "relative.pem",
        "CLAUDE_CODE_USE_BEDROCK": "1",
    }
    shown = mounts(enclosed(BWRAP, ARGV, env, view))
    for path in (top / "tools", top / "home/.cargo", top / "ca.pem", top / "home/.aws"):
        assert shown[str(path)] == ("--ro-bind-try", str(path))
    assert str(top / "home/.azure") not in shown
    assert not any("relative" in path for path in shown)


def test_a_folder_of_configuration_that_is_named_is_private_but_for_the_login(top: Path, view: View) -> None:
    named = top / "named"
    named.mkdir()
    (named / ".claude.json").write_text('{"account": 1}')
    shown = mounts(enclosed(BWRAP, ARGV, {"HOME": str(top / "home"), "CLAUDE_CONFIG_DIR": str(named)}, view))
    assert shown[str(named)] == ("--bind-try", str(view.temporary / "config"))
    login = str(named / ".credentials.json")
    assert shown[login] == ("--bind-try", login)
    assert (view.temporary / "config/.claude.json").read_text() == '{"account": 1}'
