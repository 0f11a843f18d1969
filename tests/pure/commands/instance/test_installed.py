"""A server that runs on after another version was installed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from claude_openai import __version__
from claude_openai.commands import main
from claude_openai.commands.doctor.checks_server import server_checks
from claude_openai.commands.instance.installed import outdated
from claude_openai.commands.instance.lock import claiming
from claude_openai.commands.instance.record import Instance

STARTED = 1_000_000.0
# Nothing listens on this port.
SAME = Instance(os.getpid(), 1, "http://127.0.0.1:1", "", __version__, "sdk", STARTED, None, "", (), "/", True)
OTHER = replace(SAME, version="0.0.1")


def installed_at(folder: Path, seconds: float) -> Path:
    """A package that pip has put there at this time; its folder."""
    package = folder / "claude_openai"
    package.mkdir()
    for name in ("claude_openai-0.1.0.dist-info", "other-2.0.dist-info"):
        (folder / name).mkdir()
        record = folder / name / "RECORD"
        record.touch()
        os.utime(record, (seconds, seconds if name.startswith("claude") else 2 * STARTED))
    return package


def test_a_server_of_the_installed_version_is_not_outdated(tmp_path: Path) -> None:
    assert outdated(SAME) == ""
    assert outdated(SAME, installed_at(tmp_path, STARTED - 1)) == ""


def test_a_checkout_is_never_newer_than_its_server(tmp_path: Path) -> None:
    assert outdated(SAME, tmp_path / "claude_openai") == ""


def test_other_version_is_reported() -> None:
    assert outdated(OTHER) == f"the server runs 0.0.1, but {__version__} is installed"


def test_reinstalled_same_version_is_reported(tmp_path: Path) -> None:
    assert "installed again after the server had started" in outdated(SAME, installed_at(tmp_path, STARTED + 1))


@pytest.mark.parametrize(("instance", "warns"), [(SAME, False), (OTHER, True)])
def test_status_warns_and_its_exit_code_is_the_servers_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], instance: Instance, warns: bool
) -> None:
    environ = {"TMPDIR": str(tmp_path)}
    with claiming(tmp_path) as claim:
        claim.publish(instance)
        assert main(["status"], environ) == 1  # it is not reachable
        assert ("warning: the server runs 0.0.1" in capsys.readouterr().out) is warns
        assert main(["status", "--json"], environ) == 1
        assert len(json.loads(capsys.readouterr().out)["warnings"]) == warns


def test_doctor_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_openai.commands.doctor.checks_server.health_of", lambda _: "ok")
    with claiming(tmp_path) as claim:
        claim.publish(OTHER)
        check = server_checks({"TMPDIR": str(tmp_path)})[0][-1]
    assert (check.name, check.state, check.mend) == ("server", "warning", "run `claude-openai restart`")
    assert "0.0.1" in check.found
