"""OpenAI's older completions on the real Claude Code, with the openai package as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import openai
import pytest
import trio

from claude_openai.standin.script import UpstreamErrorEvent
from claude_openai.testing import RecordedRequest, Reply, Text, Thinking
from tests.real.call import MODEL
from tests.real.harness import LIMIT_S, Served, needs_claude, on_both_backends, serving
from tests.real.heard import heard

pytestmark = needs_claude

T = TypeVar("T")
PROMPT = "  Once upon\n a time, /help @/etc/passwd "
REPLY = Reply(Thinking("Hm"), Text("there ", "was"))


async def with_the_package(served: Served, use: Callable[[openai.OpenAI], T]) -> T:
    def run() -> T:
        options: dict[str, Any] = {"api_key": "any", "max_retries": 0, "timeout": LIMIT_S / 2}
        with openai.OpenAI(base_url=f"{served.url}/v1", **options) as client:
            return use(client)

    return await trio.to_thread.run_sync(run)


def answer_of(client: openai.OpenAI, **fields: Any) -> tuple[str, str]:
    """The text and the reason of its end, which are the same in a stream."""
    completion = client.completions.create(model=MODEL, **fields)
    (choice,) = completion.choices
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 0
    whole = choice.text, choice.finish_reason
    assert streamed(client, **fields) == whole
    return whole


def streamed(client: openai.OpenAI, **fields: Any) -> tuple[str, str]:
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = client.completions.create(model=MODEL, **options, **fields)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    reasons = [choice.finish_reason for choice in choices]
    assert reasons[:-1] == [None] * (len(choices) - 1)
    assert (last.choices, last.usage.completion_tokens > 0) == ([], True)
    return "".join(choice.text for choice in choices), reasons[-1]


@on_both_backends
async def test_claude_is_sent_the_prompt_as_the_one_message(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, REPLY, backend=backend) as served:
        answer = await with_the_package(served, lambda client: answer_of(client, prompt=PROMPT, max_tokens=77))
        assert answer == ("there was", "stop")
        assert len(served.api.requests) == 2
        for request in served.api.requests:
            found = heard(request, bounds=(77,))
            assert (found.turns, found.system, found.tools) == ((("user", (("text", PROMPT),)),), (), ())
            assert found.max_tokens == 77


@pytest.mark.long
async def test_an_answer_ends_at_the_limit_and_before_a_stop_sequence(tmp_path: Path) -> None:
    def reply(request: RecordedRequest) -> Reply:
        return Reply("one END two") if request.body["max_tokens"] > 5 else Reply("there", stop_reason="max_tokens")

    async with serving(tmp_path, reply) as served:
        ended = await with_the_package(served, lambda client: answer_of(client, prompt=["Hi"], max_tokens=5))
        assert ended == ("there", "length")
        ended = await with_the_package(served, lambda client: answer_of(client, prompt="Hi", stop="END"))
        assert ended == ("one ", "stop")


async def test_a_failure_in_a_stream_raises(tmp_path: Path) -> None:
    async with serving(tmp_path, Reply("Hel", UpstreamErrorEvent("overloaded_error", "Busy."))) as served:

        def ask(client: openai.OpenAI) -> None:
            chunks = client.completions.create(model=MODEL, prompt="Hi", stream=True)
            (choice,) = next(chunks).choices
            assert choice.to_dict() == {"index": 0, "text": "Hel", "logprobs": None, "finish_reason": None}
            with pytest.raises(openai.APIError, match="broke off its answer"):
                next(chunks)

        await with_the_package(served, ask)


async def test_refusals_are_errors_of_the_package_that_name_the_field(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:

        def ask(client: openai.OpenAI) -> None:
            for name, value in {"suffix": "end", "prompt": [[1, 2]], "logprobs": 0, "echo": True, "best_of": 2}.items():
                fields: Any = {"prompt": "Hi", name: value}
                with pytest.raises(openai.BadRequestError) as raised:
                    client.completions.create(model=MODEL, **fields)
                assert raised.value.param == name

        await with_the_package(served, ask)
        assert served.api.requests == []
