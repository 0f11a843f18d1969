"""The state store of the settings, and the error without the extra."""

import sys
from pathlib import Path

import pytest

from claude_openai.config import Config
from claude_openai.errors import ConfigError, StartError
from claude_openai.logs.log import NULL_LOG
from claude_openai.state.file import FileState
from claude_openai.state.opening import open_state

URL = "redis://127.0.0.1:1"


def test_settings_without_a_store_open_none(tmp_path: Path) -> None:
    assert open_state(Config(), NULL_LOG) is None
    assert open_state(Config(responses_file=tmp_path / "file", store=False), NULL_LOG) is None
    assert isinstance(open_state(Config(responses_file=tmp_path / "file"), NULL_LOG), FileState)


@pytest.mark.parametrize("package", ["coredis", "cryptography.exceptions"])
def test_open_without_the_extra_names_the_command_to_install_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cipher", "redis"):
        monkeypatch.delitem(sys.modules, f"claude_openai.state.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StartError, match=package) as caught:
        open_state(Config(state_url=URL), NULL_LOG)
    assert "'claude-openai[replicas]'" in caught.value.hint


def test_a_file_and_redis_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        Config(state_url=URL, responses_file=tmp_path)


def test_one_file_for_responses_and_usage_is_refused_by_any_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    for other in (tmp_path / "file", Path("file"), tmp_path / "link" / "file", tmp_path / "none" / ".." / "file"):
        with pytest.raises(ConfigError, match="--responses-file") as caught:
            Config(responses_file=tmp_path / "file", usage_file=other)
        assert f"{str(tmp_path / 'file')!r} is also the file of --usage-file, {str(other)!r}" in str(caught.value)
    Config(responses_file=tmp_path / "file", usage_file=tmp_path / "other")


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="--state-password-file") as caught:
        Config(state_url="redis://:hidden@h")
    assert "hidden" not in str(caught.value)
