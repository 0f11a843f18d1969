"""The configurations that `connect` prints, whole and in a form that their clients can read."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from claude_openai.commands.connect.client_texts import KEY_VARIABLE, Target
from claude_openai.commands.connect.clients import CLIENTS, Places
from claude_openai.commands.connect.connecting import merged
from tests.docs_tables import DOCS

OPEN = Target("http://127.0.0.1:8000/v1", "claude-sonnet", needs_key=False)
KEYED = Target("http://127.0.0.1:8001/v1", "claude-opus", needs_key=True)
HOME, PROJECT = Path("/home/me"), Path("/project")


def text(name: str, target: Target = OPEN) -> str:
    return CLIENTS[name].text(target)


def at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value[key]
    return value


@pytest.mark.parametrize("name", CLIENTS)
def test_every_configuration_names_the_server_and_its_model_and_no_key(name: str) -> None:
    for target in (OPEN, KEYED):
        shown = "\n".join([text(name, target), *CLIENTS[name].usage(target)])
        assert target.url in shown
        assert target.model in shown
        # llm keeps keys of its own, and Zed wants the variable in any case.
        assert (KEY_VARIABLE in shown) == target.needs_key or name in ("llm", "zed")
        assert text(name, target).endswith("\n")


@pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if client.place])
def test_what_was_written_is_complete_a_second_time(name: str) -> None:
    client = CLIENTS[name]
    once, _, _ = merged(client, "", client.text(KEYED))
    assert merged(client, once, client.text(KEYED)) == (once, [], [])


def test_opencode_gets_what_the_documentation_shows() -> None:
    blocks = re.findall(r"```json\n(.*?)```", (DOCS / "clients.md").read_text("utf-8"), re.DOTALL)
    (shown,) = [json.loads(block) for block in blocks if "opencode" in block]
    assert json.loads(text("opencode")) == shown


def test_opencode_takes_the_key_from_the_variable() -> None:
    provider = at(json.loads(text("opencode", KEYED)), "provider", "claude")
    assert provider["options"] == {"baseURL": KEYED.url, "apiKey": "{env:CLAUDE_OPENAI_API_KEY}"}
    assert list(provider["models"]) == ["claude-opus", "claude-sonnet", "claude-haiku", "claude-fable"]


def test_codex_gets_a_provider_for_responses() -> None:
    provider = {"name": "Claude Code", "base_url": OPEN.url, "wire_api": "responses"}
    assert tomllib.loads(text("codex")) == {"model_providers": {"claude-openai": provider}}
    keyed = at(tomllib.loads(text("codex", KEYED)), *CLIENTS["codex"].own)
    assert keyed == {**provider, "base_url": KEYED.url, "env_key": "CLAUDE_OPENAI_API_KEY"}


def test_zed_makes_the_name_of_the_variable_from_that_of_the_provider() -> None:
    *_, provider = CLIENTS["zed"].own
    assert provider.upper().replace("-", "_") + "_API_KEY" == KEY_VARIABLE
    model = at(json.loads(text("zed")), *CLIENTS["zed"].own)["available_models"][0]
    assert (model["name"], model["max_tokens"]) == ("claude-sonnet", 1_000_000)


def test_the_lines_for_the_shell_set_what_the_sdks_read() -> None:
    lines = [shlex.split(line) for line in text("openai").splitlines()]
    assert lines == [["export", f"OPENAI_BASE_URL={OPEN.url}"], ["export", "OPENAI_API_KEY=none"]]
    assert text("openai", KEYED).splitlines()[1] == 'export OPENAI_API_KEY="$CLAUDE_OPENAI_API_KEY"'


@pytest.mark.parametrize(
    ("name", "opened", "keyed"),
    [
        ("continue", "    apiKey: none\n", "    apiKey: ${{ secrets.CLAUDE_OPENAI_API_KEY }}\n"),
        ("aider", "openai-api-key: none\n", ""),
        ("llm", "", "  api_key_name: claude-openai\n"),
        ("litellm", "      api_key: none\n", "      api_key: os.environ/CLAUDE_OPENAI_API_KEY\n"),
    ],
)
def test_each_yaml_has_its_own_way_to_a_key(name: str, opened: str, keyed: str) -> None:
    assert opened in text(name)
    assert keyed in text(name, KEYED)
    assert not opened or opened not in text(name, KEYED)
    assert not keyed or keyed not in text(name)


@pytest.mark.parametrize(
    ("name", "environ", "is_global", "place"),
    [
        ("opencode", {}, False, PROJECT / "opencode.json"),
        ("opencode", {}, True, HOME / ".config/opencode/opencode.json"),
        ("opencode", {"XDG_CONFIG_HOME": "/xdg"}, True, Path("/xdg/opencode/opencode.json")),
        ("codex", {}, False, HOME / ".codex/config.toml"),
        ("codex", {"CODEX_HOME": "/codex"}, False, Path("/codex/config.toml")),
        ("continue", {}, False, HOME / ".continue/config.yaml"),
        ("aider", {}, False, PROJECT / ".aider.conf.yml"),
        ("aider", {}, True, HOME / ".aider.conf.yml"),
        ("llm", {"LLM_USER_PATH": "/llm"}, False, Path("/llm/extra-openai-models.yaml")),
        ("zed", {}, False, HOME / ".config/zed/settings.json"),
        ("litellm", {}, False, PROJECT / "litellm_config.yaml"),
    ],
)
def test_each_file_has_its_place(name: str, environ: dict[str, str], is_global: bool, place: Path) -> None:
    find = CLIENTS[name].place
    assert find is not None
    assert find(Places(HOME, PROJECT, environ, is_global)) == place


def test_opencode_is_read_with_comments_where_it_has_such_a_file(tmp_path: Path) -> None:
    (tmp_path / "opencode.jsonc").touch()
    find = CLIENTS["opencode"].place
    assert find is not None
    assert find(Places(HOME, tmp_path, {})) == tmp_path / "opencode.jsonc"
