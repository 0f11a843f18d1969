"""`doctor` on machines in good and bad health, each made for the test."""

import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.config import BACKENDS
from claude_openai.testing import AUTHENTICATION_ERROR, Answer, Reply, Script
from tests.conditions import needs
from tests.real.changed_claude import changed_claude
from tests.real.command import Shell, shell
from tests.real.fake_cli import ANSWER, fake_cli
from tests.real.harness import OK, needs_claude

pytestmark = needs_claude

READY = Reply("ready")


class Doctor:
    """What one visit found, by the name of the check."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.ok = told["ok"]
        self.checks = {check["name"]: check for check in told["checks"]}
        self.states = {name: check["state"] for name, check in self.checks.items() if check["state"] != "ok"}

    def found(self, name: str) -> str:
        return str(self.checks[name]["found"])

    def mend(self, name: str) -> str:
        return str(self.checks[name]["mend"])


async def visit(type_: Shell, *flags: str, env: Mapping[str, str] | None = None) -> Doctor:
    """The doctor's word; the exit code must fit it, and the port is a free one unless the flags name one."""
    port = () if "--port" in flags else ("--port", "0")
    said = await type_("doctor", "--json", *port, *flags, env=env)
    doctor = Doctor(json.loads(said.stdout))
    assert doctor.ok == ("FAIL" not in doctor.states.values())
    assert said.code == (0 if doctor.ok else 1)
    return doctor


@asynccontextmanager
async def untouched(folder: Path, reply: Script | Answer = OK) -> AsyncIterator[Shell]:
    """A shell in which the doctor has left nothing behind in the temporary folder."""
    async with shell(folder, reply) as type_:
        yield type_
        assert type_.files() == []


def own_sdk(folder: Path) -> dict[str, str]:
    """Variables for a machine whose SDK brings no Claude Code, and that has none on PATH."""
    package = folder / "path" / "claude_agent_sdk"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (folder / "empty").mkdir()
    root = str(Path(__file__).parents[4])
    return {"PATH": str(folder / "empty"), "PYTHONPATH": f"{package.parent}{os.pathsep}{root}"}


async def test_a_healthy_machine_gets_a_line_a_check_and_the_exit_code_0(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        said = await type_("doctor", "--demo", "--port", "0")
        assert (said.code, said.stderr) == (0, "")
        *lines, summary = said.stdout.splitlines()
        assert summary == "all checks passed"
        assert len(lines) >= 13
        assert all(line.startswith("ok ") for line in lines)
        assert type_.api.requests == []


async def test_it_loads_no_server_unless_it_makes_a_round_trip(tmp_path: Path) -> None:
    program = (
        "import sys; from claude_openai import commands; commands.main(['doctor', '--demo', '--port', '0'])\n"
        "print('loaded:', *sorted(name for name in sys.modules if '.' not in name))"
    )
    async with untouched(tmp_path) as type_:
        done = await trio.run_process(
            [sys.executable, "-c", program], env=type_.environment, stdin=b"", capture_stdout=True
        )
    loaded = set(done.stdout.decode().partition("loaded:")[2].split())
    assert "json" in loaded
    assert not loaded & {"trio", "anyio", "quart", "quart_trio", "hypercorn", "h11", "claude_agent_sdk", "jsonschema"}


async def test_doctor_without_claude_code_says_how_to_install_it(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        doctor = await visit(type_, env=own_sdk(tmp_path))
        assert doctor.states == {"Claude Code": "FAIL"}
        assert "npm install -g @anthropic-ai/claude-code" in doctor.mend("Claude Code")
        assert "login" not in doctor.checks


@pytest.mark.parametrize(("confine", "state"), [("auto", "ok"), ("require", "FAIL")])
async def test_a_machine_without_bubblewrap_fails_only_if_bash_must_be_confined(
    tmp_path: Path, confine: str, state: str
) -> None:
    async with untouched(tmp_path) as type_:
        doctor = await visit(type_, "--confine", confine, env={"PATH": str(tmp_path)})
        assert doctor.checks["Bash"]["state"] == state
        assert "bubblewrap (bwrap) is not installed" in doctor.found("Bash")


async def test_a_claude_command_that_is_no_program_fails(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        doctor = await visit(type_, "--claude-command", str(tmp_path))
        assert doctor.states == {"Claude Code": "FAIL"}
        assert str(tmp_path) in doctor.found("Claude Code")


async def test_doctor_with_a_semicolon_in_a_path_shows_the_whole_problem_and_the_hint(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        doctor = await visit(type_, "--claude-command", "./a; b/claude", env={"DEBUG": "a; b. c"})
        assert doctor.states == {"Claude Code": "FAIL", "variables": "warning"}
        assert doctor.found("Claude Code").endswith(": './a; b/claude' is not a program that can be run")
        assert doctor.mend("Claude Code") == "leave it out to use the program that comes with the SDK"
        assert doctor.found("variables") == "DEBUG='a; b. c' is ignored: it was not set for this program"
        assert doctor.mend("variables") == "use --debug"


async def test_claude_without_version_or_login_output_is_not_trusted(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        broken = fake_cli(tmp_path, "echo 'no such library' >&2; exit 127")
        doctor = await visit(type_, "--claude-command", broken)
        assert doctor.states == {"Claude Code": "FAIL"}
        assert "no such library" in doctor.found("Claude Code")
        old = fake_cli(tmp_path, "case $1 in --version) echo '2.9.1 (Claude Code)';; *) exit 1;; esac")
        doctor = await visit(type_, "--claude-command", old)
        assert doctor.states == {"login": "warning"}
        assert doctor.found("Claude Code").startswith("2.9.1 at ")


async def test_without_a_login_it_names_the_command_that_logs_in(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        doctor = await visit(type_, env={"ANTHROPIC_API_KEY": "", "ANTHROPIC_BASE_URL": ""})
        assert doctor.states == {"login": "FAIL"}
        assert "auth login`" in doctor.mend("login")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ANTHROPIC_API_KEY": "sk-secret"}, "an API key of ANTHROPIC_API_KEY"),
        ({"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "tok-secret"}, "a token of CLAUDE_CODE_OAUTH_TOKEN"),
        ({"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_USE_BEDROCK": "1"}, "the account of bedrock"),
        ({"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_USE_VERTEX": "1"}, "the account of vertex"),
    ],
)
async def test_doctor_names_the_login_in_use_and_no_secret(
    tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    async with untouched(tmp_path) as type_:
        doctor = await visit(type_, env=variables)
        assert doctor.found("login").startswith(words)
        assert "secret" not in json.dumps(doctor.checks)
        assert type_.api.requests == []


@pytest.mark.long
async def test_a_bad_flag_is_one_failed_check_and_the_others_are_made(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        doctor = await visit(type_, "--max-concurrency", "none", "--demo")
        assert doctor.states["settings"] == "FAIL"
        assert "--max-concurrency" in doctor.found("settings")
        assert {"Python", "Claude Code", "port"} <= doctor.checks.keys()
        public = await visit(type_, "--host", "0.0.0.0")  # noqa: S104 - nothing listens
        assert "--api-key" in public.mend("settings")
        keyed = await visit(type_, "--host", "0.0.0.0", "--api-key", "sk-secret", "--demo")  # noqa: S104
        assert keyed.states == {"key": "warning"}
        assert "secret" not in json.dumps(keyed.checks)


@needs("/proc")
async def test_folders_in_which_even_root_cannot_write_are_found(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        files = ("--usage-file", "/proc/x/usage.db", "--responses-file", "/proc/x/r.db", "--log-file", "/proc/x/log")
        doctor = await visit(type_, "--output-dir", "/proc/x", *files, env={"HOME": "/proc/none"})
        warned = dict.fromkeys(("output", "usage", "responses"), "warning")
        assert doctor.states == {"home": "FAIL", "log": "FAIL", **warned}
        for name in doctor.states:
            assert "'/proc" in doctor.found(name)


async def test_log_file_is_checked_and_not_created(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        log, link = type_.folder / "own.log", type_.folder / "link.log"
        assert (await visit(type_, "--demo", "--log-file", str(log))).states == {}
        assert not log.exists()
        log.write_text("before\n")
        assert (await visit(type_, "--demo", "--log-file", str(log))).states == {}
        assert log.read_text() == "before\n"
        link.symlink_to(log)
        linked = await visit(type_, "--demo", "--log-file", str(link))
        assert linked.states == {"log": "FAIL"}
        assert linked.found("log") == f"'{link}' cannot be written: it is a symbolic link"
        default = type_.home / ".claude-openai" / "claude-openai.log"
        default.parent.mkdir()
        default.symlink_to(log)
        assert (await visit(type_, "--demo")).states == {"log": "warning"}


async def test_claude_that_is_too_old_fails_and_its_complaint_is_whole(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        old = fake_cli(tmp_path, "echo '1.0.3 (Claude Code)'")
        doctor = await visit(type_, "--claude-command", old)
        assert doctor.states == {"Claude Code": "FAIL"}
        assert doctor.found("Claude Code").startswith("1.0.3 is too old; expected 2.1.169 or newer")
        words = " ".join(f"word{number}" for number in range(60))
        broken = fake_cli(tmp_path, f"echo '{words}' >&2; exit 127")
        assert words in (await visit(type_, "--claude-command", broken)).found("Claude Code")


async def test_port_in_use_is_reported_with_its_owner(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            doctor = await visit(type_, "--demo", "--port", str(stranger.getsockname()[1]))
        assert doctor.states == {"port": "FAIL"}
        assert f"pid {os.getpid()}" in doctor.found("port")
        assert "--port" in doctor.mend("port")


async def test_a_planted_pid_file_is_found_and_not_followed(tmp_path: Path) -> None:
    async with shell(tmp_path) as type_:
        target = tmp_path / "target"
        target.write_text("1\n")
        (type_.temporary / "claude-openai.pid").symlink_to(target)
        doctor = await visit(type_, "--demo")
        assert doctor.states == {"server": "FAIL"}
        assert "symbolic link" in doctor.found("server")
        assert "TMPDIR" in doctor.mend("server")
        assert target.read_text() == "1\n"


@pytest.mark.long
async def test_folders_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        file = tmp_path / "file"
        file.touch()
        doctor = await visit(type_, "--output-dir", str(file / "output"), env={"CLAUDE_CONFIG_DIR": str(file)})
        assert doctor.states["home"] == "FAIL"
        assert doctor.states["output"] == "warning"
        assert str(file) in doctor.found("home")
        lost = await visit(type_, "--demo", env={"TMPDIR": str(tmp_path / "nowhere")})
        assert lost.states == {"temp folder": "FAIL"}


async def test_a_proxy_that_would_catch_local_requests_gives_a_warning(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        proxy = {"http_proxy": "http://user:secret@proxy:3128", "NO_PROXY": "", "no_proxy": "example.com"}
        doctor = await visit(type_, "--demo", env=proxy)
        assert doctor.states == {"proxy": "warning"}
        assert "secret" not in json.dumps(doctor.checks)
        exempt = await visit(type_, "--demo", env={**proxy, "no_proxy": "example.com, 127.0.0.1"})
        assert exempt.ok
        assert exempt.states == {}


async def test_more_sessions_than_the_memory_holds_give_a_warning(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        doctor = await visit(type_, "--demo", "--max-idle-sessions", "100000000")
        assert doctor.states == {"memory": "warning"}


@pytest.mark.long
async def test_round_trip_of_the_demo_needs_no_account(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        doctor = await visit(type_, "--demo", "--round-trip")
        assert doctor.states == {}
        assert "a temporary server: first token after" in doctor.found("round trip")
        assert type_.api.requests == []


async def test_round_trip_asks_claude_once_and_warns_of_the_cost(tmp_path: Path) -> None:
    async with untouched(tmp_path, READY) as type_:
        said = await type_("doctor", "--round-trip", "--port", "0")
        assert said.code == 0, said.stdout
        assert "costs a few tokens" in said.stderr
        assert "5 characters" in said.stdout
        assert len(type_.api.requests) == 1


@pytest.mark.long
async def test_round_trip_uses_the_url_of_the_flags_and_prints_it(tmp_path: Path) -> None:
    async with shell(tmp_path, READY) as type_:
        demo = await type_.start("--demo")
        # To Claude, not to the demo on any port.
        for flags in (["--port", "0"], ["--port", str(demo.port)], []):
            said = await type_("doctor", "--round-trip", *flags)
            assert "sending a request to a temporary server; this costs a few tokens" in said.stderr
            assert demo.base_url not in said.stdout.partition("round trip")[2]
        assert len(type_.api.requests) == 3
        # And the demo, by its kind or by its port.
        for flags in (["--port", str(demo.port)], []):
            said = await type_("doctor", "--round-trip", "--demo", *flags)
            assert f"sending a request to {demo.base_url}; the demo costs nothing" in said.stderr
            assert f"{demo.base_url}: first token" in said.stdout
        # A server that left no files here is found by its port.
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        said = await type_("doctor", "--round-trip", "--demo", "--port", str(demo.port), env={"TMPDIR": str(elsewhere)})
        assert f"{demo.base_url}: first token" in said.stdout
        assert len(type_.api.requests) == 3


@pytest.mark.long
async def test_a_refused_login_shows_in_the_round_trip(tmp_path: Path) -> None:
    async with untouched(tmp_path, lambda _: AUTHENTICATION_ERROR) as type_:
        doctor = await visit(type_, "--round-trip")
        assert doctor.states == {"round trip": "FAIL"}
        assert "login" in doctor.found("round trip")
        assert doctor.mend("round trip").startswith("start the server with --debug")  # none runs that has a log


@pytest.mark.long
async def test_running_server_has_no_findings_and_is_asked_with_its_key(tmp_path: Path) -> None:
    key = {"CLAUDE_OPENAI_API_KEY": "sk-secret"}
    async with shell(tmp_path, READY) as type_:
        server = await type_.start(env=key)
        port = ("--port", str(server.port))
        doctor = await visit(type_, "--round-trip", *port, env=key)
        assert doctor.states == {}
        assert "health ok" in doctor.found("server")
        assert "running server's" in doctor.found("port")
        assert server.base_url in doctor.found("round trip")
        keyless = await visit(type_, "--round-trip", *port)
        assert keyless.states == {"round trip": "FAIL"}
        assert "CLAUDE_OPENAI_API_KEY" in keyless.mend("round trip")
        assert len(type_.api.requests) == 1


ON_SDK = ["follow-up", "edit", "tool call", "tool result", "parallel calls", "parallel results", "result and text"]
ON_BOTH = ["history", "stream", "Messages", "Responses", "picture", "system message", "JSON schema"]
KINDS = {"sdk": ["new", *ON_SDK, *ON_BOTH, "return"], "cli": ["new", *ON_BOTH]}


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_self_test_tries_each_kind_of_turn_without_an_account(tmp_path: Path, backend: str) -> None:
    async with untouched(tmp_path) as type_:
        strange = {
            "ANTHROPIC_API_KEY": "",
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "CLAUDE_CODE_USE_BEDROCK": "1",
            "CLAUDE_OPENAI_API_KEY": "sk-secret",
        }
        before = sorted(path for path in type_.home.rglob("*"))
        doctor = await visit(type_, "--self-test", "--backend", backend, env=strange)
        assert doctor.states == {}, doctor.checks
        assert list(doctor.checks) == ["Claude Code", *KINDS[backend]]
        assert all("gets only the client's conversation" in doctor.found(name) for name in list(doctor.checks)[1:])
        assert type_.api.requests == []
        assert sorted(path for path in type_.home.rglob("*")) == before


def last_blocks(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The client's last message in a turn of the self-test after the first; empty for other requests."""
    said = json.dumps(body)
    if "You are a test." not in said or "Are you there?" in said:
        return []
    *_, message = (message for message in body["messages"] if message["role"] == "user")
    if isinstance(message["content"], str):
        message["content"] = [{"type": "text", "text": message["content"]}]
    blocks: list[dict[str, Any]] = message["content"]
    return blocks


def change_the_last_words(body: dict[str, Any]) -> None:
    for block in last_blocks(body)[-1:]:
        block["text" if block["type"] == "text" else "content"] = "other words"


def change_what_only_some_turns_have(body: dict[str, Any]) -> None:
    blocks = last_blocks(body)
    match [block["type"] for block in blocks]:
        case ["tool_result", "tool_result"]:
            blocks.reverse()
        case ["tool_result", "text"] | ["text", "text"]:
            del blocks[-1 if blocks[0]["type"] == "tool_result" else 0]
        case ["image", "text"]:
            del blocks[0]


@pytest.mark.long
async def test_each_turn_of_a_self_test_fails_where_claude_gets_other_words(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        with changed_claude(tmp_path, change_the_last_words) as changed:
            doctor = await visit(type_, "--self-test", "--claude-command", changed)
        assert doctor.states == dict.fromkeys(KINDS["sdk"], "FAIL")
        for name in doctor.states:
            assert "is missing or out of order" in doctor.found(name)


@pytest.mark.long
async def test_self_test_of_a_claude_without_pictures_reminders_and_order_fails_these_turns(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        with changed_claude(tmp_path, change_what_only_some_turns_have) as changed:
            doctor = await visit(type_, "--self-test", "--claude-command", changed)
        failing = ("parallel results", "result and text", "picture", "system message")
        assert doctor.states == dict.fromkeys(failing, "FAIL")
        assert "results of parallel calls change places" in doctor.found("parallel results")
        assert "block 'And now?' is missing" in doctor.found("result and text")
        assert "data:image/png" in doctor.found("picture").partition("is missing")[0]
        assert "Be brief." in doctor.found("system message")


@pytest.mark.long
async def test_a_self_test_of_a_broken_claude_fails_with_its_last_words(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        broken = fake_cli(tmp_path, "[ $1 = --version ] && exec echo 2.1.400; echo 'no luck' >&2; exit 3")
        doctor = await visit(type_, "--self-test", "--claude-command", broken)
        assert doctor.states == {"start": "FAIL"}
        assert "no luck" in doctor.found("start")


@pytest.mark.long
async def test_a_self_test_fails_where_the_answer_is_not_that_of_the_script(tmp_path: Path) -> None:
    async with untouched(tmp_path) as type_:
        wrong = fake_cli(tmp_path, ANSWER.replace("asked", "[ $1 = --version ] && exec echo '2.1.400'; asked", 1))
        doctor = await visit(type_, "--self-test", "--claude-command", wrong)
        assert doctor.states == {"start": "FAIL"}
        assert doctor.found("start") == "wrong answer: 'one two'; expected 'Yes.'"


@pytest.mark.parametrize(
    ("version", "state", "words"),
    [("2.1.168", "FAIL", "too old; expected"), ("2.1.200", "warning", "Claude gets the date")],
)
async def test_old_claude_is_reported_with_what_it_lacks(tmp_path: Path, version: str, state: str, words: str) -> None:
    async with untouched(tmp_path) as type_:
        old = fake_cli(tmp_path, f"[ $1 = --version ] && exec echo '{version} (Claude Code)'; exit 1")
        doctor = await visit(type_, "--claude-command", old)
        assert doctor.states["Claude Code"] == state
        assert words in doctor.found("Claude Code")
        assert "npm install -g @anthropic-ai/claude-code" in doctor.mend("Claude Code")
