"""`connect` as it is typed, and OpenCode, unmodified, with the configuration that it wrote."""

import json
import tomllib
from pathlib import Path

import pytest

from claude_openai.testing import RecordedRequest, Reply
from tests.conditions import needs
from tests.real.call import Call, chat
from tests.real.command import shell
from tests.real.fake_cli import NEW_MODEL, fake_cli
from tests.real.harness import needs_claude, serving
from tests.real.opencode import opencode

pytestmark = needs_claude

KEY = {"CLAUDE_OPENAI_API_KEY": "sk-secret"}
USUAL = ["claude-sonnet", "claude-opus", "claude-haiku", "claude-fable"]


async def test_without_a_client_it_lists_them(tmp_path: Path) -> None:
    async with shell(tmp_path) as type_:
        said = await type_("connect")
        assert said.code == 0
        assert {"opencode", "codex", "continue", "aider", "llm", "zed"} <= {
            line.split()[0] for line in said.stdout.splitlines()
        }


async def test_it_prints_the_configuration_alone_and_writes_nothing(tmp_path: Path) -> None:
    async with shell(tmp_path) as type_:
        said = await type_("connect", "opencode", "--model", "claude-opus", env={"CLAUDE_OPENAI_PORT": "8123"})
        assert said.code == 0
        config = json.loads(said.stdout)
        assert config["model"] == "claude/claude-opus"
        assert config["provider"]["claude"]["options"]["baseURL"] == "http://127.0.0.1:8123/v1"
        assert str(type_.folder / "opencode.json") in said.stderr
        assert list(type_.folder.iterdir()) == []


@pytest.mark.long
async def test_connect_names_the_running_server_and_never_its_key(tmp_path: Path) -> None:
    async with shell(tmp_path) as type_:
        server = await type_.start("--demo", env=KEY)
        said = await type_("connect", "codex", "--write")
        assert (said.code, "CLAUDE_OPENAI_API_KEY" in said.stderr) == (0, True)
        path = type_.home / ".codex" / "config.toml"
        (provider,) = tomllib.loads(path.read_text())["model_providers"].values()
        assert (provider["base_url"], provider["env_key"]) == (f"{server.base_url}/v1", "CLAUDE_OPENAI_API_KEY")
        assert "secret" not in said.stdout + said.stderr + path.read_text()


@pytest.mark.long
async def test_connect_writes_the_models_of_the_running_server_with_its_key(tmp_path: Path) -> None:
    async with shell(tmp_path) as type_:
        server = await type_.start("--claude-command", fake_cli(tmp_path, NEW_MODEL), env=KEY)
        headers = {"Authorization": "Bearer sk-secret"}
        async with Call.open(server.base_url, chat("Hi"), **headers) as call:
            assert await call.status() == 200
            await call.body()
        known = json.loads((await type_("connect", "opencode", env=KEY)).stdout)["provider"]["claude"]["models"]
        assert list(known) == [*USUAL, "claude-mythos"]
        assert known["claude-mythos"]["limit"] == {"context": 2_000_000, "input": 1_744_000, "output": 256_000}
        assert known["claude-mythos"]["variants"] == {"max": {"reasoningEffort": "max"}}
        said = await type_("connect", "continue", "--model", "claude-mythos", env=KEY)
        assert "contextLength: 2000000\n" in said.stdout
        without_key = json.loads((await type_("connect", "opencode")).stdout)["provider"]["claude"]
        assert (list(without_key["models"]), without_key["options"]["baseURL"]) == (USUAL, f"{server.base_url}/v1")


async def test_it_names_what_it_changes_a_second_time_changes_nothing_and_remove_undoes_it(tmp_path: Path) -> None:
    async with shell(tmp_path) as type_:
        path = type_.folder / "opencode.jsonc"
        before = '{\n  "theme": "mine", // dark\n  "model": "other/model",\n}\n'
        path.write_text(before)
        said = await type_("connect", "opencode", "--write", "--dry-run", env=KEY)
        assert (said.code, f"+++ {path}" in said.stdout, path.read_text()) == (0, True, before)
        said = await type_("connect", "opencode", "--write", env=KEY)
        assert said.code == 0, said.stderr
        assert said.stdout.splitlines() == [
            f"connected: {path}",
            "  added: $schema",
            "  added: small_model",
            "  added: provider",
            "  left: model (your value)",
        ]
        written = path.read_text()
        assert written.startswith('{\n  "theme": "mine", // dark\n  "model": "other/model",\n')
        assert '"apiKey": "{env:CLAUDE_OPENAI_API_KEY}"' in written
        again = await type_("connect", "opencode", "--write", env=KEY)
        assert again.stdout.splitlines()[0] == f"already connected, nothing changed: {path}"
        assert path.read_text() == written
        removed = await type_("connect", "opencode", "--remove")
        assert (removed.code, removed.stdout.splitlines()[0]) == (0, f"disconnected: {path}")
        assert path.read_text() == before
        nothing = await type_("connect", "opencode", "--remove")
        assert (nothing.code, nothing.stdout) == (0, f"nothing to remove: connect has not written to {path}\n")
        assert list(type_.folder.iterdir()) == [path]


async def test_a_file_that_it_cannot_change_is_left_with_a_hint_what_to_do(tmp_path: Path) -> None:
    async with shell(tmp_path) as type_:
        path = type_.folder / "opencode.json"
        path.write_text('{ // mine\n  "a" 1}')
        said = await type_("connect", "opencode", "--write")
        assert said.code == 1
        assert "not valid JSON at line 2, column 7" in said.stderr
        assert "correct the file and try again" in said.stderr
        assert (said.stdout, path.read_text()) == ("", '{ // mine\n  "a" 1}')
        path.unlink()
        target = tmp_path / "outside"
        target.write_text("{}")
        path.symlink_to(target)
        said = await type_("connect", "opencode", "--write")
        assert (said.code, target.read_text()) == (1, "{}")
        assert "outside of the project" in said.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ("nobody",),
        ("--write",),
        ("--remove",),
        ("cline", "--write"),
        ("opencode", "--dry-run"),
        ("opencode", "--write", "--remove"),
        ("opencode", "--url", "127.0.0.1:8000"),
        ("opencode", "--url", "http://user:secret@host"),
        ("opencode", "--url", "http://host:port"),
        ("openai", "--url", "http://host/$(id)`id` "),
        ("opencode", "--model", "a b"),
        ("opencode", "--model", "{env:HOME}"),
    ],
)
async def test_what_it_does_not_understand_is_one_line_and_the_exit_code_2(
    tmp_path: Path, argv: tuple[str, ...]
) -> None:
    async with shell(tmp_path) as type_:
        said = await type_("connect", *argv)
        assert (said.code, said.stdout, said.stderr.count("\n")) == (2, "", 1)
        assert list(type_.folder.iterdir()) == []


async def test_a_server_elsewhere_is_named_with_or_without_its_v1(tmp_path: Path) -> None:
    async with shell(tmp_path) as type_:
        for url in ("https://host.example", "https://host.example/v1/"):
            said = await type_("connect", "openai", "--url", url)
            assert said.stdout.splitlines() == [
                "export OPENAI_BASE_URL=https://host.example/v1",
                'export OPENAI_API_KEY="$CLAUDE_OPENAI_API_KEY"',
            ]


@pytest.mark.long
@needs("opencode")
async def test_opencode_works_with_what_was_written_and_a_key_in_the_variable(tmp_path: Path) -> None:
    def reply(request: RecordedRequest) -> Reply:
        return Reply("It is connected." if request.tools else "A title")

    key = KEY["CLAUDE_OPENAI_API_KEY"]
    (tmp_path / "typing").mkdir()
    async with (
        serving(tmp_path, reply, spares=1, max_idle_sessions=4, api_key=key) as served,
        shell(tmp_path / "typing") as type_,
    ):
        path = type_.folder / "opencode.json"
        # What keeps it from the network; merging leaves it as it is.
        path.write_text('{"autoupdate": false, "share": "disabled", "enabled_providers": ["claude"]}')
        said = await type_("connect", "opencode", "--write", "--url", served.url, env=KEY)
        assert said.code == 0, said.stderr
        home = tmp_path / "opencode"
        home.mkdir()
        assert "It is connected." in await opencode(type_.folder, home, "Say hello.", env=KEY)
        assert "It is connected." in await opencode(type_.folder, home, "--variant", "max", "Think hard.", env=KEY)
        asked = [request for request in served.api.requests if request.tools]
        assert asked[-1].body["output_config"]["effort"] == "max"
        assert asked[0].body["output_config"]["effort"] != "max"
