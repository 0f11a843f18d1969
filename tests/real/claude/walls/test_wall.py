"""What is seen of the disk inside the wall, with bubblewrap and a shell in the place of Claude Code."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from claude_openai.claude.walls.bubblewrap import View, enclosed
from claude_openai.claude.walls.confinement import try_confinement
from tests.real.harness import needs_bwrap

pytestmark = needs_bwrap

TIMEOUT_S = 60


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return made(tmp_path / "home")


@pytest.fixture
def view(tmp_path: Path) -> View:
    folders = {name: made(tmp_path / name) for name in ("work", "private", "private/temporary")}
    temporary = folders["private/temporary"]
    return View(Path("/bin/sh"), folders["work"], [], [], temporary, hidden=[folders["private"]])


def made(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def said(view: View, script: str, home: Path, cwd: Path | str | None = None, path: Sequence[Path] = ()) -> str:
    """What a script prints inside, its complaints included."""
    bwrap = try_confinement("require", os.environ).bwrap
    env = {"HOME": str(home), "PATH": ":".join([*map(str, path), "/usr/bin", "/bin"])}
    argv = enclosed(bwrap, ["/bin/sh", "-c", f"{{ {script}; }} 2>&1"], env, view)
    done = subprocess.run(
        argv, env=env, cwd=cwd or view.cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.stderr == ""
    return done.stdout


def test_the_folder_is_writable_and_the_system_is_not(view: View, home: Path) -> None:
    text = said(view, "pwd; echo x > made; echo x > /usr/made; echo x > /etc/made; echo x > /made", home)
    assert text.splitlines()[0] == str(view.cwd)
    assert text.count("Read-only file system") == 3
    assert (view.cwd / "made").read_text() == "x\n"


def test_the_home_is_empty_and_what_is_written_there_stays_there(view: View, home: Path) -> None:
    made(home / ".ssh", id="secret")
    assert said(view, 'ls -A "$HOME"; echo x > "$HOME/.bashrc"; cat "$HOME/.bashrc"', home) == ".claude\nx\n"
    assert sorted(path.name for path in home.iterdir()) == [".ssh"]


def test_toolchains_on_the_path_are_seen_but_not_the_secrets_beside_them(view: View, home: Path) -> None:
    made(home / ".cargo" / "bin", cargo="#!/bin/sh\necho cargo runs\n")
    (home / ".cargo" / "bin" / "cargo").chmod(0o755)
    made(home / ".cargo", **{"credentials.toml": "secret", "config.toml": "configured"})
    made(home / ".local" / "bin", tool="here")
    made(home / ".local" / "share" / "keyrings", login="secret")
    made(home / ".local" / "share" / "uv", python="here")
    made(home / "bin", mine="here")
    made(home, **{".gitconfig": "[user] name = me", "notes": "secret"})
    path = [home / ".cargo" / "bin", home / ".local" / "bin", home / "bin"]
    assert said(view, "cargo", home, path=path) == "cargo runs\n"
    found = said(
        again(view), "cd; find . -type f -size +0 | sort; cat .cargo/cred*; echo x > .cargo/x", home, path=path
    )
    assert found.splitlines()[:-1] == [
        "./.cargo/bin/cargo",
        "./.cargo/config.toml",
        "./.gitconfig",
        "./.local/bin/tool",
        "./.local/share/uv/python",
        "./bin/mine",
    ]
    assert "Read-only file system" in found.splitlines()[-1]


def test_secrets_are_covered_in_a_home_that_is_the_folder_itself(view: View, home: Path, tmp_path: Path) -> None:
    made(home / ".ssh", id="secret")
    made(home / ".claude", **{"history.jsonl": "secret", ".credentials.json": "the login"})
    made(tmp_path / "keys", key="secret")
    made(home, **{".netrc": "secret", "project": "seen", ".claude.json": "the account"})
    (home / ".gnupg").symlink_to(tmp_path / "keys")
    (home / ".aws").symlink_to("elsewhere")
    made(home / "elsewhere", key="secret")
    everything = "cd; find . -type f -exec cat {} +; cat .gnupg/key; echo x > made; echo x > .claude/settings.json"
    text = said(replace(view, cwd=home), f"{everything}; echo renewed > .claude/.credentials.json", home)
    assert "secret" not in text
    assert all(words in text for words in ("seen", "the login", "the account"))
    assert (home / "made").exists()
    assert not (home / ".claude" / "settings.json").exists()
    assert (home / ".claude" / ".credentials.json").read_text() == "renewed\n"
    assert (home / ".claude.json").read_text() == "the account"


def test_a_folder_among_the_hidden_is_open_if_it_was_asked_for(view: View, home: Path) -> None:
    made(home / ".aws" / "project", a="seen")
    made(home / ".aws", credentials="secret")
    text = said(replace(view, cwd=home, writable=[home / ".aws" / "project"]), "cat ~/.aws/project/a ~/.aws/c*", home)
    assert text.startswith("seen")
    assert "secret" not in text


def test_the_servers_own_folder_is_covered_in_an_allowed_one(view: View, home: Path, tmp_path: Path) -> None:
    made(tmp_path / "private" / "other-process", secret="secret")
    inside = replace(view, cwd=tmp_path)
    assert said(inside, "ls private; echo x > private/temporary/mine", home) == "temporary\n"
    assert (view.temporary / "mine").exists()


def test_the_folder_that_was_opened_is_the_one_that_is_bound_whatever_is_at_its_path_by_then(
    view: View, home: Path, tmp_path: Path
) -> None:
    made(view.cwd, which="the checked one\n")
    with opened(view.cwd) as descriptor:
        view.cwd.rename(tmp_path / "moved")
        view.cwd.symlink_to(made(tmp_path / "outside", which="another"))
        text = said(view, "cat which; pwd", home, cwd=f"/proc/{os.getpid()}/fd/{descriptor}")
    assert text == f"the checked one\n{view.cwd}\n"


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_program_in_the_home_is_seen_with_what_lies_beside_its_real_file(view: View, home: Path) -> None:
    package = made(home / "lib" / "package", program="#!/bin/sh\ncat $(dirname $(realpath $0))/beside\n", beside="ok\n")
    (package / "program").chmod(0o755)
    made(home / "secret", a="secret")
    (made(home / "bin") / "claude").symlink_to(package / "program")
    walled = replace(view, program=home / "bin" / "claude")
    assert said(walled, f"{home}/bin/claude; ls {home}", home) == "ok\nbin\nlib\n"


def test_the_whole_disk_can_be_asked_for(view: View, home: Path) -> None:
    made(home / ".ssh", id="secret")
    made(home, seen="seen")
    text = said(replace(view, cwd=Path("/")), f"cat {home}/seen {home}/.ssh/id; ls /proc | grep -c '^[0-9]'", home)
    assert text.startswith("seen")
    assert "secret" not in text
    assert int(text.splitlines()[-1]) < 10


def again(view: View) -> View:
    """For a second process: each has a temporary folder of its own."""
    return replace(view, temporary=made(view.temporary / "second"))
