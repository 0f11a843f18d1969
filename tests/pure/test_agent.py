"""The `claude` object: its form, the folders and the modes that it may name."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from claude_openai.claude.folders import HeldFolder
from claude_openai.config import Config
from claude_openai.errors import BadRequest, ConfigError, Forbidden
from claude_openai.protocol.agent import NO_AGENT, PERMISSION_MODES, Agent, read_agent
from claude_openai.protocol.request import ChatRequest, parse_chat_request
from claude_openai.web.agent_guard import AgentGuard

BODY = b'{"model":"claude","messages":[{"role":"user","content":"Hi"}]}'


def chat(**agent: Any) -> ChatRequest:
    return replace(parse_chat_request(BODY, Config().catalog()), agent=Agent(**agent))


def checked(config: Config, **agent: Any) -> Agent:
    held = HeldFolder()
    try:
        return AgentGuard(config).checked(chat(**agent), held).agent
    finally:
        held.close()


def forbidden(config: Config, **agent: Any) -> Forbidden:
    with pytest.raises(Forbidden) as raised:
        checked(config, **agent)
    assert raised.value.status == 403
    return raised.value


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder `allowed` with a folder in it, and a folder `allowed-not` beside it."""
    (tmp_path / "allowed" / "inner").mkdir(parents=True)
    (tmp_path / "allowed-not").mkdir()
    return tmp_path


@pytest.fixture
def config(work: Path) -> Config:
    return Config(allowed_working_directory_prefixes=(work / "allowed",))


def test_without_the_object_or_with_nulls_nothing_is_asked() -> None:
    assert parse_chat_request(BODY, Config().catalog()).agent == NO_AGENT
    assert read_agent({}) == NO_AGENT
    assert read_agent(dict.fromkeys(["workingDirectory", "addDirs", "toolMode", "effort", "resetSession"])) == NO_AGENT


def test_every_key_is_read() -> None:
    given = {
        "workingDirectory": "/w",
        "addDirs": ["/x", "/y"],
        "toolMode": "safe",
        "permissionMode": "plan",
        "effort": "high",
        "resetSession": True,
    }
    assert read_agent(given) == Agent("/w", ("/x", "/y"), "safe", "plan", "high", True)


def test_its_effort_wins_over_the_one_of_openai() -> None:
    body = BODY[:-1] + b',"reasoning_effort":"low","claude":{"effort":"max"}}'
    assert parse_chat_request(body, Config().catalog()).reasoning_effort == "max"


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({"workingdirectory": "/w"}, "unknown_parameter", "claude.workingdirectory"),
        ({"workingDirectory": 7}, "invalid_type", "claude.workingDirectory"),
        ({"workingDirectory": ""}, "invalid_value", "claude.workingDirectory"),
        ({"workingDirectory": "src"}, "invalid_value", "claude.workingDirectory"),
        ({"workingDirectory": "~/src"}, "invalid_value", "claude.workingDirectory"),
        ({"workingDirectory": "/a\0b"}, "invalid_value", "claude.workingDirectory"),
        ({"addDirs": "/a"}, "invalid_type", "claude.addDirs"),
        ({"addDirs": ["/a", "b"]}, "invalid_value", "claude.addDirs[1]"),
        ({"toolMode": "everything"}, "invalid_value", "claude.toolMode"),
        ({"toolMode": True}, "invalid_type", "claude.toolMode"),
        ({"permissionMode": "yolo"}, "invalid_value", "claude.permissionMode"),
        ({"effort": "huge"}, "invalid_value", "claude.effort"),
        ({"resetSession": "yes"}, "invalid_type", "claude.resetSession"),
    ],
)
def test_what_is_malformed_is_refused_at_its_exact_place(given: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read_agent(given)
    assert (raised.value.code, raised.value.param) == (code, param)


def test_a_folder_inside_an_allowed_one_is_resolved(config: Config, work: Path) -> None:
    (work / "link").symlink_to(work / "allowed")
    for asked in ("allowed", "allowed/inner", "allowed/../allowed/inner", "link/inner", "allowed/inner/."):
        agent = checked(config, working_directory=str(work / asked))
        assert agent.working_directory == str((work / asked).resolve())
    agent = checked(config, add_dirs=(str(work / "link"),))
    assert agent.add_dirs == (str(work / "allowed"),)


@pytest.mark.parametrize(
    "asked", ["", "allowed-not", "allowed/..", "allowed/../allowed-not", "out", "allowed/away", "no"]
)
def test_a_folder_outside_is_refused_whether_it_exists_or_not(config: Config, work: Path, asked: str) -> None:
    (work / "out").symlink_to("/")
    (work / "allowed" / "away").symlink_to(work / "allowed-not")
    error = forbidden(config, working_directory=str(work / asked))
    assert (error.code, error.param) == ("working_directory_not_allowed", "claude.workingDirectory")
    assert str(work / "allowed") in error.message
    assert forbidden(config, add_dirs=(str(work / "allowed"), str(work / asked))).param == "claude.addDirs[1]"


def test_an_allowed_folder_that_is_not_there_is_a_400(config: Config, work: Path) -> None:
    with pytest.raises(BadRequest) as raised:
        checked(config, working_directory=str(work / "allowed" / "no-such"))
    assert raised.value.param == "claude.workingDirectory"


def test_without_a_setting_the_current_folder_is_the_allowed_one(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work / "allowed")
    assert checked(Config(), working_directory=str(work / "allowed" / "inner")).working_directory.endswith("inner")
    assert str(work / "allowed") in forbidden(Config(), working_directory=str(work)).message


@pytest.mark.parametrize(
    ("tools", "mode"), [("disabled", None), ("readonly", "default"), ("safe", "acceptEdits"), ("all", "acceptEdits")]
)
def test_tools_work_in_the_first_allowed_folder_with_the_mode_that_goes_with_them(
    config: Config, work: Path, tools: str, mode: str | None
) -> None:
    agent = checked(config, tool_mode=tools)
    assert agent.permission_mode == mode
    assert agent.working_directory == (str(work / "allowed") if mode else "")


def test_a_mode_that_is_not_allowed_is_not_taken_by_default_either(config: Config) -> None:
    strict = replace(config, allowed_permission_modes=("plan",))
    assert checked(strict, tool_mode="all").permission_mode == "plan"
    error = forbidden(strict, permission_mode="acceptEdits")
    assert (error.code, error.param) == ("permission_mode_not_allowed", "claude.permissionMode")
    assert "allowed are plan" in error.message


def test_bypassing_permissions_has_a_flag_of_its_own_and_is_not_for_root(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mode in PERMISSION_MODES:
        if mode != "bypassPermissions":
            assert checked(config, permission_mode=mode).permission_mode == mode
    assert "--allow-bypass-permissions" in forbidden(config, permission_mode="bypassPermissions").message
    allowing = replace(config, allow_bypass_permissions=True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert checked(allowing, permission_mode="bypassPermissions").permission_mode == "bypassPermissions"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "root" in forbidden(allowing, permission_mode="bypassPermissions").message
    with pytest.raises(ConfigError, match="--allow-bypass-permissions"):
        Config(allowed_permission_modes=("bypassPermissions",))
