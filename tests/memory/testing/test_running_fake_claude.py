"""`running_fake_claude`: threads, asyncio and other processes get the script, and no thread is left after any end."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from claude_openai.errors import ConfigError
from claude_openai.testing import Hang, Reply, ScriptError, fake_claude, running_fake_claude

CHAT: dict[str, Any] = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "running_fake_claude"] == []


@pytest.fixture(autouse=True)
def proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")


def test_sync_client_gets_the_script_and_the_request_is_recorded() -> None:
    with running_fake_claude("Hello") as claude:
        answer = claude.openai().chat.completions.create(**CHAT)
        assert answer.choices[0].message.content == "Hello"
        assert (claude.last.prompt, claude.last.outcome, claude.last.received) == ("Hi", "completed", "Hello")
        claude.wait_for_end(claude.last)
    assert [run.status for run in claude.runs] == ["completed"]
    assert "http.request" in {record["event"] for record in claude.log}


def test_http_client_has_the_url_and_the_key() -> None:
    with running_fake_claude() as claude:
        assert claude.http().get("/models").status_code == 200
        assert claude.http(headers={"authorization": "none"}).get("/models").status_code == 401
        assert [request.outcome for request in claude.requests] == ["completed", "refused"]


def test_answers_are_appended_while_it_runs() -> None:
    with running_fake_claude() as claude:
        with pytest.raises(TypeError, match="answer 1 of the script"):
            claude.answer(1)  # type: ignore[arg-type]
        claude.answer("late")
        assert claude.openai().chat.completions.create(**CHAT).choices[0].message.content == "late"


def test_client_that_leaves_cancels_its_turn() -> None:
    with running_fake_claude(Reply("Hel", Hang())) as claude:
        with claude.openai().chat.completions.create(**CHAT, stream=True) as chunks:
            assert any(chunk.choices[0].delta.content == "Hel" for chunk in chunks)
        claude.wait_for_end(claude.last)
        assert claude.last.outcome == "cancelled"


def test_waits_are_bounded() -> None:
    with running_fake_claude() as claude, pytest.raises(TimeoutError, match=r"request 1 has not arrived after 0.01 s"):
        claude.wait_for_request(timeout_s=0.01)


def test_asyncio_client_gets_the_script() -> None:
    async def main() -> str | None:
        with running_fake_claude("Hello") as claude:
            async with openai.AsyncOpenAI(
                base_url=claude.url,
                api_key=claude.api_key,
                http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
            ) as client:
                answer: str | None = (await client.chat.completions.create(**CHAT)).choices[0].message.content
                return answer

    assert asyncio.run(main()) == "Hello"


async def test_trio_program_may_use_it_too() -> None:
    with running_fake_claude("Hello") as claude:
        assert claude.openai().chat.completions.create(**CHAT).choices[0].message.content == "Hello"


def test_other_process_gets_the_script() -> None:
    program = f"""
import sys, urllib.request as u
headers = {{"content-type": "application/json", "authorization": "Bearer " + sys.argv[2]}}
request = u.Request(sys.argv[1] + "/chat/completions", {json.dumps(CHAT)!r}.encode(), headers)
print(u.build_opener(u.ProxyHandler({{}})).open(request, timeout=30).status)
"""
    with running_fake_claude("Hello") as claude:
        command = [sys.executable, "-c", program, claude.url, claude.api_key]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "200"


def test_script_that_was_not_followed_fails_in_the_thread_of_the_caller() -> None:
    with pytest.raises(ScriptError, match=r"answer 1 .* was not asked for"), running_fake_claude("Hello"):
        pass


def test_script_function_that_raises_is_the_cause() -> None:
    def script(_request: object) -> str:
        raise KeyError("mine")

    with (
        pytest.raises(ScriptError, match="KeyError") as raised,
        running_fake_claude(script) as claude,
        pytest.raises(openai.InternalServerError),
    ):
        claude.openai(max_retries=0).chat.completions.create(**CHAT)
    assert isinstance(raised.value.__cause__, KeyError)


@pytest.mark.parametrize("error", [AssertionError("mine"), KeyboardInterrupt(), SystemExit(3)])
def test_error_of_the_block_stays_itself_and_gets_a_note(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, running_fake_claude("Hello"):
        raise error
    assert raised.value is error
    assert "was not asked for" in "".join(raised.value.__notes__)


@pytest.mark.parametrize(
    ("answers", "config", "error"),
    [([object()], {}, TypeError), ([], {"max_concurrency": 0}, ConfigError), ([], {"colour": 1}, TypeError)],
)
def test_invalid_start_raises_the_error_itself(answers: Any, config: Any, error: type[Exception]) -> None:
    with pytest.raises(error), running_fake_claude(*answers, **config):
        pass


def test_two_fakes_run_side_by_side() -> None:
    with running_fake_claude("one") as one, running_fake_claude("two") as two:
        assert one.url != two.url
        for claude, text in ((two, "two"), (one, "one")):
            assert claude.openai().chat.completions.create(**CHAT).choices[0].message.content == text


def test_fields_of_config_reach_the_server() -> None:
    with (
        running_fake_claude("left", strict=False, max_request_bytes=10) as claude,
        pytest.raises(openai.APIStatusError) as raised,
    ):
        claude.openai().chat.completions.create(**CHAT)
    assert raised.value.status_code == 413


def test_fake_claude_under_asyncio_names_the_other_way() -> None:
    async def main() -> None:
        async with fake_claude("Hello"):
            pass

    with pytest.raises(RuntimeError, match="running_fake_claude"):
        asyncio.run(main())
