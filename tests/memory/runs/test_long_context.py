"""A context that the account has no credits for: tried once without, remembered for an hour, and reported."""

import pytest
import trio

from claude_openai.errors import ContextTooLong, LongContextRefused
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.turn.events import TextDelta, TurnFailed, TurnStarted
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.runs.long_context import REMEMBERED_S, LongContext
from tests.memory.harness import Server, chat, serving
from tests.scripted_backend import TurnStep, full_turn

BODY = b'{"model":"claude","messages":[{"role":"user","content":"Hi"}]}'
WITHOUT = full_turn("short")
TOO_LONG = (TurnFailed(ContextTooLong("prompt is too long", param="messages")),)


def refused(*steps: TurnStep) -> tuple[TurnStep, ...]:
    return (*steps, TurnFailed(LongContextRefused("No credits.", may_retry=False)))


def script(request: TurnRequest) -> tuple[TurnStep, ...]:
    return refused() if request.long_context else WITHOUT


def asked(server: Server) -> list[tuple[str, bool]]:
    return [(turn.request.claude_model, turn.request.long_context) for turn in server.backend.turns]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refused_turn_is_run_once_without_and_the_next_ones_from_the_start(stream: bool) -> None:
    async with serving(script) as server:
        for _ in range(2):
            answer = await server.post(chat(stream=stream))
            assert answer.status == 200
            assert b"short" in answer.body
        assert asked(server) == [("sonnet", True), ("sonnet", False), ("sonnet", False)]
        assert len(server.logged("run.long_context_refused")) == 1
        assert not server.logged("run.failed")


async def test_other_models_are_not_concerned() -> None:
    async with serving(lambda request: script(request) if request.claude_model == "opus" else full_turn()) as server:
        for model in ("opus", "sonnet"):
            assert (await server.post({**chat(), "model": model})).status == 200
        assert asked(server) == [("opus", True), ("opus", False), ("sonnet", True)]


async def test_turn_refused_without_long_context_too_is_a_billing_error() -> None:
    async with serving(refused()) as server:
        answer = await server.post(chat())
        assert (answer.status, answer.error()["code"]) == (429, "insufficient_quota")
        assert answer.headers["x-should-retry"] == "false"
        assert [long for _, long in asked(server)] == [True, False]


async def test_a_turn_that_claude_has_begun_is_not_run_again_and_the_next_does_without() -> None:
    def begun(request: TurnRequest) -> tuple[TurnStep, ...]:
        return refused(TurnStarted("claude"), TextDelta("Hel")) if request.long_context else WITHOUT

    async with serving(begun) as server:
        *_, last = (await server.post(chat(stream=True))).events()
        assert isinstance(last, dict)
        assert last["error"]["code"] == "insufficient_quota"
        assert (await server.post(chat())).status == 200
        assert [long for _, long in asked(server)] == [True, False]


async def test_conversation_too_long_without_long_context_says_why() -> None:
    async with serving(lambda request: refused() if request.long_context else TOO_LONG) as server:
        answer = await server.post(chat())
        assert (answer.status, answer.error()["code"]) == (400, "context_length_exceeded")
        assert answer.error()["param"] == "messages"
        assert answer.error()["message"].startswith("prompt is too long. The account has no usage credits")
    async with serving(TOO_LONG) as server:
        assert (await server.post(chat())).error()["message"] == "prompt is too long"


async def test_it_is_forgotten_after_an_hour() -> None:
    request = parse_chat_request(BODY, ModelCatalog("sonnet"))
    memory = LongContext()
    assert memory.applied_to(request) is request
    assert memory.is_refused(request, LongContextRefused("No credits."))
    await trio.sleep(REMEMBERED_S - 1)
    assert not memory.applied_to(request).long_context
    await trio.sleep(1)
    assert memory.applied_to(request) is request
