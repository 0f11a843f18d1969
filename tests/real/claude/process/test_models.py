"""The models of Claude Code itself: what `/v1/models` reports and `connect` writes once it has listed them."""

import json
from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import Reply
from tests.openai_schema import validate
from tests.real.call import Call, chat
from tests.real.fake_cli import NEW_MODEL, fake_cli
from tests.real.harness import Served, needs_claude, on_both_backends, serving, until

pytestmark = needs_claude

LISTED = ["claude-sonnet", "claude-opus", "claude-haiku", "claude-fable"]
LIMITS = ("context_length", "max_output_tokens")


async def models(served: Served) -> dict[str, dict[str, Any]]:
    async with Call.open(served.url, None, "/v1/models") as call:
        status, listing = await call.answer()
    assert status == 200
    validate("ListModelsResponse", listing)
    return {model["id"]: model for model in listing["data"]}


async def ask(served: Served, model: str) -> int:
    async with Call.open(served.url, {**chat("Hi"), "model": model}) as call:
        status, _ = await call.answer()
    return status


@pytest.mark.long
@on_both_backends
async def test_after_a_turn_the_limits_are_those_that_claude_code_reports(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, backend=backend) as served:
        before = await models(served)
        assert await ask(served, "claude-haiku-4-5") == 200
        async with Call.open(served.url, None, "/v1/models/claude-haiku-4-5") as call:
            _, told = await call.answer()
        assert [told[limit] for limit in LIMITS] == [200_000, 32_000]
        # What 2.1.332 lists is what the table has, and nothing is listed because a client has named it.
        assert await models(served) == before
        assert list(before) == LISTED


@pytest.mark.long
@on_both_backends
async def test_the_table_has_the_limits_and_efforts_that_the_bundled_claude_code_reports(
    tmp_path: Path, backend: str
) -> None:
    async with serving(tmp_path, backend=backend) as served:
        before = await models(served)
        for name in LISTED:
            assert await ask(served, name) == 200
        assert await models(served) == before


@pytest.mark.long
async def test_models_of_the_account_are_listed_and_served(tmp_path: Path) -> None:
    settings = tmp_path / "home" / "config" / ".claude.json"
    settings.parent.mkdir(parents=True)
    added = {"value": "claude-mythos-1-preview", "label": "Mythos", "description": "of this account"}
    settings.write_text(json.dumps({"additionalModelOptionsCache": [added]}))
    async with serving(tmp_path) as served:
        assert await ask(served, "claude-sonnet") == 200
        listed = await models(served)
        assert list(listed) == [*LISTED, "claude-mythos-1-preview"]
        assert await ask(served, "claude-mythos-1-preview") == 200
        assert served.api.requests[-1].model == "claude-mythos-1-preview"


@pytest.mark.long
async def test_a_context_window_that_is_switched_off_is_not_listed(tmp_path: Path) -> None:
    async with serving(tmp_path, Reply("ok"), extra_env={"CLAUDE_CODE_DISABLE_1M_CONTEXT": "1"}) as served:
        assert await ask(served, "claude-opus") == 200
        told = {name: model["context_length"] for name, model in (await models(served)).items()}
        assert (told["claude-opus"], told["claude-sonnet"]) == (200_000, 1_000_000)


@on_both_backends
async def test_a_new_claude_code_brings_models_that_can_be_asked(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, claude_command=fake_cli(tmp_path, NEW_MODEL), backend=backend) as served:
        assert await ask(served, "claude-mythos") == 404
        assert await ask(served, "claude-sonnet") == 200
        listed = await models(served)
        assert list(listed) == [*LISTED, "claude-mythos"]
        new = listed["claude-mythos"]
        assert [new[limit] for limit in LIMITS] == [2_000_000, 256_000]
        assert new["reasoning_efforts"] == ["low", "max"]
        for name in ("claude-mythos", "mythos"):
            assert await ask(served, name) == 200
            argv = (tmp_path / "argv").read_text().splitlines()
            assert argv[argv.index("--model") + 1] == "mythos"
        assert await ask(served, "--print") == 404


@pytest.mark.parametrize("listed", ["null", "5", '{"opus": 1}', '["opus"]', '[{"value": {"value": []}}]'])
async def test_an_answer_of_another_form_fails_no_turn_and_changes_nothing(tmp_path: Path, listed: str) -> None:
    start, end = NEW_MODEL.index("'7,"), NEW_MODEL.index("]}}}'")
    behaviour = NEW_MODEL[:start].replace('"models":[', f'"models":{listed}') + "'" + NEW_MODEL[end + 1 :]
    behaviour = behaviour.replace('"contextWindow":2000000', '"contextWindow":"2000000"')
    async with serving(tmp_path, claude_command=fake_cli(tmp_path, behaviour)) as served:
        before = await models(served)
        for _ in range(2):
            assert await ask(served, "claude-sonnet") == 200
        assert await models(served) == before
        assert (await served.whole_log()).count('"event":"models.unreadable"') == 1


async def test_a_probe_does_not_replace_what_a_process_of_the_account_reported(tmp_path: Path) -> None:
    # A probe has no token. With one, the name stands for another id, and a process of `opus` lists nothing.
    behaviour = """
    id=claude-mythos-1 key=models
    case "$ANTHROPIC_AUTH_TOKEN $*" in token*--model\\ opus*) key=others;; esac
    [ -z "$ANTHROPIC_AUTH_TOKEN" ] || id=eu.claude-mythos-1
    """ + NEW_MODEL.replace('"models"', "\"'$key'\"").replace(
        '"resolvedModel":"claude-mythos-1"', '"resolvedModel":"\'$id\'"'
    ).replace("id=${line", "request=${line").replace("${id%%", "${request%%")
    async with serving(
        tmp_path,
        claude_command=fake_cli(tmp_path, behaviour),
        learns=True,
        extra_env={"ANTHROPIC_AUTH_TOKEN": "token"},
    ) as served:
        for model in ("claude-sonnet", "claude-opus"):
            assert await ask(served, model) == 200
            # The fake reports limits of the other id alone.
            assert "context_length" not in (await models(served))["claude-mythos"]


async def test_the_names_of_a_new_claude_code_are_known_before_the_first_turn(tmp_path: Path) -> None:
    command = fake_cli(tmp_path, NEW_MODEL)
    async with serving(tmp_path, claude_command=command, spares=1, learns=True) as served:
        await until(lambda: "models.added" in served.log_text(), "a model is added")
        assert list(await models(served)) == [*LISTED, "claude-mythos"]
        assert await ask(served, "claude-mythos") == 200
