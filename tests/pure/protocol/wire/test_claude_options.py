"""The `claude` object: its form, the folders and the modes that it may name."""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from claude_openai.claude.walls.folders import HeldFolder
from claude_openai.config import Config
from claude_openai.errors import BadRequest, ConfigError, Forbidden
from claude_openai.protocol.anthropic.messages.request import parse_messages_request
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.openai.responses.request import parse_responses_request
from claude_openai.protocol.turn.claude_options import NO_CLAUDE_OPTIONS, PERMISSION_MODES, ClaudeOptions
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.claude_options import read_claude_options
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.web.claude_options_access import ClaudeOptionsGuard
from tests.named_keys import named_key

BODY = b'{"model":"claude","messages":[{"role":"user","content":"Hi"}]}'


def chat(**options: Any) -> TurnRequest:
    return replace(parse_chat_request(BODY, Config().catalog()), options=ClaudeOptions(**options))


def fast(model: str, *, asked: bool = True) -> bytes:
    """A body of each API."""
    said = [{"role": "user", "content": "Hi"}]
    body = {"model": model, "messages": said, "input": said, "max_tokens": 9, "claude": {"fastMode": asked}}
    return json.dumps(body).encode()


def parse_responses(body: bytes, catalog: ModelCatalog) -> TurnRequest:
    fields = json.loads(body)
    del fields["messages"]
    return parse_responses_request(json.dumps(fields).encode(), catalog, lambda _: None).chat


def checked(config: Config, **options: Any) -> ClaudeOptions:
    held = HeldFolder()
    try:
        return ClaudeOptionsGuard(config).checked(chat(**options), held).options
    finally:
        held.close()


def forbidden(config: Config, **options: Any) -> Forbidden:
    with pytest.raises(Forbidden) as raised:
        checked(config, **options)
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
    assert parse_chat_request(BODY, Config().catalog()).options == NO_CLAUDE_OPTIONS
    assert read_claude_options({}) == NO_CLAUDE_OPTIONS
    assert (
        read_claude_options(
            dict.fromkeys(["workingDirectory", "addDirs", "toolMode", "effort", "fastMode", "resetSession"])
        )
        == NO_CLAUDE_OPTIONS
    )


def test_every_key_is_read() -> None:
    given = {
        "workingDirectory": "/w",
        "addDirs": ["/x", "/y"],
        "toolMode": "safe",
        "permissionMode": "plan",
        "effort": "high",
        "fastMode": True,
        "resetSession": True,
    }
    expected = ClaudeOptions("/w", ("/x", "/y"), "safe", "plan", "high", fast_mode=True, reset_session=True)
    assert read_claude_options(given, has_fast_mode=True) == expected


@pytest.mark.parametrize("parse", [parse_chat_request, parse_messages_request, parse_responses])
@pytest.mark.parametrize("model", ["sonnet", "claude-haiku", "claude-opus-4-8", "best"])
def test_fast_mode_is_refused_for_a_model_that_is_not_known_to_have_it(
    parse: Callable[[bytes, ModelCatalog], TurnRequest], model: str
) -> None:
    with pytest.raises(BadRequest) as raised:
        parse(fast(model), Config().catalog())
    assert (raised.value.code, raised.value.param) == ("unsupported_value", "claude.fastMode")
    for name in ("opus", "claude-opus[1m]", "claude-opus-5-5", "claude-fable"):
        assert parse(fast(name), Config().catalog()).options.fast_mode
    assert not parse(fast(model, asked=False), Config().catalog()).options.fast_mode


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
        ({"addDirs": ["/a"] * 65}, "invalid_value", "claude.addDirs"),
        ({"toolMode": "everything"}, "invalid_value", "claude.toolMode"),
        ({"toolMode": True}, "invalid_type", "claude.toolMode"),
        ({"permissionMode": "yolo"}, "invalid_value", "claude.permissionMode"),
        ({"effort": "huge"}, "invalid_value", "claude.effort"),
        ({"fastMode": 1}, "invalid_type", "claude.fastMode"),
        ({"resetSession": "yes"}, "invalid_type", "claude.resetSession"),
    ],
)
def test_what_is_malformed_is_refused_at_its_exact_place(given: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read_claude_options(given)
    assert (raised.value.code, raised.value.param) == (code, param)


def test_a_folder_inside_an_allowed_one_is_resolved(config: Config, work: Path) -> None:
    (work / "link").symlink_to(work / "allowed")
    for asked in ("allowed", "allowed/inner", "allowed/../allowed/inner", "link/inner", "allowed/inner/."):
        options = checked(config, working_directory=str(work / asked))
        assert options.working_directory == str((work / asked).resolve())
    options = checked(config, add_dirs=(str(work / "link"),))
    assert options.add_dirs == (str(work / "allowed"),)


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
    options = checked(config, tool_mode=tools)
    assert options.permission_mode == mode
    assert options.working_directory == (str(work / "allowed") if mode else "")


def test_a_mode_that_is_not_allowed_is_not_taken_by_default_either(config: Config) -> None:
    strict = replace(config, allowed_permission_modes=("plan",))
    assert checked(strict, tool_mode="all").permission_mode == "plan"
    error = forbidden(strict, permission_mode="acceptEdits")
    assert (error.code, error.param) == ("permission_mode_not_allowed", "claude.permissionMode")
    assert "allowed: plan" in error.message


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


CLIENT, SERVER = ("127.0.0.1", 50000), ("127.0.0.1", 8000)


def test_roots_are_the_requested_folders_with_inode_and_field(config: Config, work: Path) -> None:
    inner = str(work / "allowed" / "inner")
    options = checked(config, tool_mode="safe", working_directory=inner, add_dirs=(str(work / "allowed"),))
    found = [(root.path, root.inode, root.param) for root in options.roots]
    assert found == [
        (inner, Path(inner).stat().st_ino, "claude.workingDirectory"),
        (str(work / "allowed"), (work / "allowed").stat().st_ino, "claude.addDirs[0]"),
    ]
    assert checked(config, tool_mode="safe").roots[0].path == str(work / "allowed")
    only_more = checked(config, add_dirs=(inner,))
    assert (only_more.working_directory, only_more.add_dirs, len(only_more.roots)) == ("", (inner,), 1)


@pytest.mark.parametrize("name", ["x" * 5000, "allowed/" + "x" * 5000, "allowed/file", "allowed/fifo", "allowed/loop"])
def test_a_folder_that_cannot_be_opened_is_the_requests_fault(config: Config, work: Path, name: str) -> None:
    (work / "allowed" / "file").write_text("")
    os.mkfifo(work / "allowed" / "fifo")
    (work / "allowed" / "loop").symlink_to(work / "allowed" / "loop")
    for fields in ({"working_directory": str(work / name)}, {"add_dirs": (str(work / name),)}):
        with pytest.raises((BadRequest, Forbidden)) as raised:
            checked(config, **fields)
        assert raised.value.param in ("claude.workingDirectory", "claude.addDirs[0]")


async def test_the_working_folder_is_open_for_as_long_as_the_request(config: Config, work: Path) -> None:
    async with ClaudeOptionsGuard(config).admitted(chat(tool_mode="readonly"), CLIENT, SERVER) as admitted:
        descriptor = admitted.options.descriptor
        assert descriptor is not None
        assert os.fstat(descriptor).st_ino == (work / "allowed").stat().st_ino
        assert not os.get_inheritable(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


async def test_a_request_that_asks_for_nothing_touches_no_file(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClaudeOptionsGuard, "checked", None)
    plain = chat(effort="high")
    async with ClaudeOptionsGuard(config).admitted(plain, CLIENT, SERVER) as admitted:
        assert admitted is plain


async def test_a_folder_that_does_not_answer_is_a_400_after_a_while(
    config: Config, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, released = threading.Event(), threading.Event()
    late: list[HeldFolder] = []

    def hang(_self: ClaudeOptionsGuard, _chat: TurnRequest, held: HeldFolder) -> None:
        late.append(held)
        begun.set()
        released.wait(60)

    monkeypatch.setattr(ClaudeOptionsGuard, "checked", hang)
    try:
        with pytest.raises(BadRequest) as raised:
            async with ClaudeOptionsGuard(config).admitted(chat(tool_mode="readonly"), CLIENT, SERVER):
                raise AssertionError("it was admitted")
        assert begun.wait(60)
    finally:
        released.set()
    assert raised.value.code == "folder_not_available"
    with pytest.raises(OSError, match="closed before"):  # what the thread opens later is closed
        late[0].open("/")


ME = os.geteuid()


@pytest.mark.parametrize(
    ("named", "key", "uid", "admits"),
    [
        (False, None, ME, True),
        (False, None, ME + 1, False),
        (False, None, 0 if ME else 1, False),
        (False, None, None, False),
        (True, None, ME + 1, True),
        (True, None, None, True),
        (False, "sk-key", ME + 1, True),
        (False, "sk-key", None, True),
    ],
)
async def test_tools_are_for_the_servers_user_for_key_holders_and_for_folders_that_were_named(
    work: Path, monkeypatch: pytest.MonkeyPatch, named: bool, key: str | None, uid: int | None, admits: bool
) -> None:
    monkeypatch.chdir(work / "allowed")
    settings = Config(api_key=key, allowed_working_directory_prefixes=(work / "allowed",) if named else ())
    guard = ClaudeOptionsGuard(
        settings, uid_of=lambda client, server: uid if (client, server) == (CLIENT, SERVER) else None
    )
    for mode in ("readonly", "safe", "all"):
        if admits:
            async with guard.admitted(chat(tool_mode=mode), CLIENT, SERVER) as admitted:
                assert admitted.options.has_tools
            continue
        with pytest.raises(Forbidden) as raised:
            async with guard.admitted(chat(tool_mode=mode), CLIENT, SERVER):
                pass
        assert (raised.value.code, raised.value.param) == ("own_tools_not_allowed", "claude.toolMode")
        assert "--allowed-working-directory-prefixes" in raised.value.message
        assert "--api-key" in raised.value.message
    # What gives no tools is for everybody.
    async with guard.admitted(chat(effort="high"), CLIENT, SERVER), guard.admitted(chat(), None, None):
        pass


def keyed(config: Config, **limits: Any) -> ClaudeOptionsGuard:
    return ClaudeOptionsGuard(config, key=named_key("ann", **limits))


async def test_a_named_key_has_the_tool_modes_that_are_listed_and_by_default_none(config: Config) -> None:
    for limits, admitted in {(): (), ("readonly",): ("readonly",), ("readonly", "all"): ("readonly", "all")}.items():
        guard = keyed(config, tool_modes=limits)
        for mode in ("readonly", "safe", "all"):
            if mode in admitted:
                async with guard.admitted(chat(tool_mode=mode), CLIENT, SERVER) as request:
                    assert request.options.has_tools
                continue
            with pytest.raises(Forbidden, match=f"The key of 'ann' may not use 'claude.toolMode' '{mode}'") as raised:
                async with guard.admitted(chat(tool_mode=mode), CLIENT, SERVER):
                    pass
            assert (raised.value.code, raised.value.param) == ("tool_mode_not_allowed", "claude.toolMode")
        async with guard.admitted(chat(effort="high"), CLIENT, SERVER):
            pass


@pytest.mark.parametrize(
    ("own", "admits"),
    [
        ((), {"allowed", "allowed/inner"}),
        (("allowed/inner",), {"allowed/inner"}),
        (("",), {"allowed", "allowed/inner"}),
        (("allowed-not", "link"), {"allowed/inner"}),
        (("allowed-not",), set()),
    ],
)
def test_a_named_key_has_what_is_within_its_own_folders_and_those_of_the_server(
    config: Config, work: Path, own: tuple[str, ...], admits: set[str]
) -> None:
    (work / "link").symlink_to(work / "allowed" / "inner")
    guard = keyed(config, folders=tuple(str(work / name) for name in own))
    for name in ("allowed", "allowed/inner", "allowed-not", ""):
        held = HeldFolder()
        for fields in ({"working_directory": str(work / name)}, {"add_dirs": (str(work / name),)}):
            if name in admits:
                guard.checked(chat(**fields), held)
                continue
            with pytest.raises(Forbidden) as raised:
                guard.checked(chat(**fields), held)
            assert raised.value.code == "working_directory_not_allowed"
        held.close()


def test_the_first_folder_of_a_named_key_is_its_working_folder(config: Config, work: Path) -> None:
    held = HeldFolder()
    tools = chat(tool_mode="readonly")
    inner = str(work / "allowed" / "inner")
    assert keyed(config, folders=(inner,)).checked(tools, held).options.working_directory == inner
    held.close()
    with pytest.raises(Forbidden, match="None of the folders of this key is within") as raised:
        keyed(config, folders=(str(work / "allowed-not"),)).checked(tools, held)
    assert raised.value.param == "claude.workingDirectory"


async def test_a_connection_whose_ends_are_not_known_gets_no_tools() -> None:
    guard = ClaudeOptionsGuard(Config(), uid_of=lambda *_: ME)
    for ends in ((None, SERVER), (CLIENT, None), (None, None)):
        with pytest.raises(Forbidden):
            async with guard.admitted(chat(tool_mode="readonly"), *ends):
                pass
