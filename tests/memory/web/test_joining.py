"""Turns that requests join: by an `Idempotency-Key`, or as the retry of a client library."""

import gc
import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import Overloaded, RunCancelled, UpstreamError
from claude_openai.protocol.turn.events import TurnFailed, TurnStarted
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.runs import kept_answers, lasting
from claude_openai.runs.kept_answers import KEPT_S, KeptAnswers
from claude_openai.runs.lasting import LINGER_S
from claude_openai.testing import Hang, Pause
from claude_openai.web.joining import MAX_KEY_CHARS
from tests.memory.client import Client
from tests.memory.harness import Server, chat, serving
from tests.scripted_backend import ScriptedBackend, TurnStep, full_turn

CHAT = "/v1/chat/completions"
MESSAGES = {"model": "claude-sonnet", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
BODIES: dict[str, dict[str, Any]] = {
    CHAT: chat(),
    "/v1/completions": {"model": "claude-sonnet", "prompt": "Hi"},
    "/v1/responses": {"model": "claude-sonnet", "input": "Hi"},
    "/v1/messages": MESSAGES,
}
KEY = "the-key"
SLOW = full_turn("Hel", Pause(5), "lo")

paths = pytest.mark.parametrize("path", BODIES)
streams = pytest.mark.parametrize("stream", [True, False])


async def begun(server: Server, path: str = CHAT, body: object = None, turn: int = 1, **headers: Any) -> Client:
    """A client whose turn has begun."""
    client = server.connect()
    await client.post(body or BODIES[path], path, **headers)
    await server.backend.wait_for_turn(turn)
    await wait_all_tasks_blocked()
    return client


def failing_once(*steps: TurnStep) -> ScriptedBackend:
    turns = iter([steps])
    return ScriptedBackend(lambda _: next(turns, full_turn("next")))


@paths
@streams
async def test_the_same_key_and_body_join_the_turn_and_get_its_answer_again(path: str, stream: bool) -> None:
    async with serving(SLOW) as server:
        body = {**BODIES[path], "stream": stream}
        first = await begun(server, path, body, idempotency_key=KEY)
        second = server.connect()
        await second.post(body, path, idempotency_key=KEY)
        answers = [await first.answer(), await second.answer(), await server.post(body, path, idempotency_key=KEY)]
        assert trio.current_time() == 5
        assert [answer.status for answer in answers] == [200] * 3
        assert len({answer.body for answer in answers}) == 1
        assert [answer.headers.get("x-claude-openai-joined") for answer in answers] == [None, "true", "true"]
        assert {answer.headers["x-claude-openai-run"] for answer in answers} == {run.id for run in server.runs.all()}
        assert {answer.headers["x-claude-openai-conversation"] for answer in answers} == {"new"}
        assert len(server.backend.turns) == 1


@streams
async def test_a_turn_with_a_key_goes_on_for_a_client_that_comes_back(stream: bool) -> None:
    async with serving(SLOW) as server:
        body = chat(stream=stream)
        client = await begun(server, body=body, idempotency_key=KEY)
        client.leave()
        await trio.sleep(LINGER_S - 0.1)
        answer = await server.post(body, idempotency_key=KEY)
        assert (answer.status, trio.current_time()) == (200, 5)
        assert b"Hel" in answer.body
        assert [turn.outcome for turn in server.backend.turns] == ["returned"]


@pytest.mark.parametrize("leave", [Client.leave, Client.half_close])
@streams
async def test_a_turn_with_a_key_ends_two_seconds_after_its_last_client(
    leave: Callable[[Client], None], stream: bool
) -> None:
    async with serving(full_turn("Hel", Hang())) as server:
        body = chat(stream=stream)
        first = await begun(server, body=body, idempotency_key=KEY)
        second = server.connect()
        await second.post(body, idempotency_key=KEY)
        await wait_all_tasks_blocked()
        leave(first)
        await trio.sleep(10)
        leave(second)
        await server.admission.wait_idle()
        assert trio.current_time() == 10 + LINGER_S
        assert server.backend.turns[0].cancel_reason == "no client reads the answer"
        assert [run.state for run in server.runs.all()] == ["cancelled"]


async def test_a_turn_that_ended_unread_is_begun_again_even_while_its_process_ends() -> None:
    async with serving(ScriptedBackend(full_turn("Hel", Pause(5)), cleanup_s=3)) as server:
        client = await begun(server, idempotency_key=KEY)
        client.leave()
        await trio.sleep(LINGER_S + 1)
        assert server.backend.active == 1
        answer = await server.post(chat(), idempotency_key=KEY)
        assert (answer.status, len(server.backend.turns)) == (200, 2)
        assert (await server.post(chat(), idempotency_key=KEY)).body == answer.body


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
async def test_another_body_or_path_with_the_same_key_is_409(path: str) -> None:
    async with serving(SLOW) as server:
        client = await begun(server, path, idempotency_key=KEY)
        others = [({**BODIES[path], "stream": True}, path), (BODIES["/v1/completions"], "/v1/completions")]
        for turns in range(2):
            for body, target in others:
                answer = await server.post(body, target, idempotency_key=KEY)
                assert (answer.status, answer.headers["x-should-retry"]) == (409, "false")
                assert answer.headers["x-claude-openai-started"] == "no"
                if target == "/v1/messages":
                    assert answer.json()["error"]["type"] == "invalid_request_error"
                else:
                    error = answer.error()
                    assert (error["code"], error["param"]) == ("idempotency_key_reused", "Idempotency-Key")
            if not turns:
                assert (await client.answer()).status == 200
        assert len(server.backend.turns) == 1


async def test_no_caller_joins_the_turn_of_another() -> None:
    async with serving(SLOW) as server:
        callers: list[dict[str, Any]] = [
            {},
            {"authorization": "Bearer a"},
            {"authorization": "Bearer b"},
            {"x_api_key": "c"},
        ]
        for number, headers in enumerate(callers, 1):
            await begun(server, turn=number, idempotency_key=KEY, **headers)
            client = await begun(server, idempotency_key=KEY, **headers)
            client.leave()
        assert len(server.backend.turns) == len(callers)
        await trio.sleep(10)
        await begun(server, turn=len(callers) + 1, idempotency_key=KEY, x_api_key="d")


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_CHARS + 1), "\u00e9", "a b"])
async def test_an_invalid_key_is_refused(key: str) -> None:
    async with serving() as server:
        answer = await server.post(chat(), idempotency_key=key)
        assert (answer.status, answer.error()["param"]) == (400, "Idempotency-Key")
        assert server.backend.turns == []
        assert (await server.post(chat(), idempotency_key="x" * MAX_KEY_CHARS)).status == 200


async def test_an_answer_is_kept_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.memory.harness.LIMIT_S", 3 * KEPT_S)
    async with serving() as server:
        for after, turns in ((0, 1), (KEPT_S - 1, 1), (1, 2)):
            await trio.sleep(after)
            assert (await server.post(chat(), idempotency_key=KEY)).status == 200
            assert len(server.backend.turns) == turns


async def test_a_server_that_stores_nothing_keeps_no_answer() -> None:
    async with serving(SLOW, store=False) as server:
        client = await begun(server, idempotency_key=KEY)
        for turns in (1, 2):
            assert (await server.post(chat(), idempotency_key=KEY)).status == 200
            assert len(server.backend.turns) == turns
        assert (await client.answer()).headers.get("x-claude-openai-joined") is None


@pytest.mark.parametrize(("bound", "value"), [("MAX_ANSWERS", 2), ("MAX_BYTES", 2 * kept_answers.ANSWER_BYTES + 1500)])
async def test_the_oldest_answers_go_first(bound: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {name: getattr(kept_answers, name) for name in ("MAX_ANSWERS", "MAX_BYTES")}
    monkeypatch.setattr(KeptAnswers.__init__, "__defaults__", tuple((defaults | {bound: value}).values()))
    async with serving() as server:
        for number in range(3):
            assert (await server.post(chat(), idempotency_key=str(number))).status == 200
        for number, joined in ((2, True), (1, True), (0, False)):
            answer = await server.post(chat(), idempotency_key=str(number))
            assert ("x-claude-openai-joined" in answer.headers) is joined


@streams
async def test_a_failure_that_cost_nothing_is_not_kept(stream: bool) -> None:
    async with serving(failing_once(TurnFailed(Overloaded("Try later.")))) as server:
        body = chat(stream=stream)
        assert (await server.post(body, idempotency_key=KEY)).status == 503
        assert (await server.post(body, idempotency_key=KEY)).status == 200


async def test_a_request_that_was_refused_may_be_sent_again() -> None:
    async with serving(SLOW, max_concurrency=1, max_queue_size=0) as server:
        client = await begun(server)
        for _ in range(2):
            answer = await server.post(chat(), idempotency_key=KEY)
            assert (answer.status, answer.error()["code"]) == (429, "queue_full")
            assert answer.headers["x-claude-openai-started"] == "no"
        await client.answer()
        assert (await server.post(chat(), idempotency_key=KEY)).status == 200


@streams
async def test_a_failure_of_an_answer_that_had_begun_is_kept(stream: bool) -> None:
    async with serving(failing_once(TurnStarted("claude"), TurnFailed(UpstreamError("It died.")))) as server:
        body = chat(stream=stream)
        answers = [await server.post(body, idempotency_key=KEY) for _ in range(2)]
        assert answers[0].body == answers[1].body
        assert b"It died." in answers[0].body
        assert [answer.status for answer in answers] == [200 if stream else 502] * 2
        assert len(server.backend.turns) == 1


@pytest.mark.parametrize(("stream", "fails", "background"), [(True, True, True), (False, False, False)])
async def test_an_answer_is_kept_without_its_request(stream: bool, fails: bool, background: bool) -> None:
    # The script is not kept either: its error would keep the traceback.
    ends = iter([TurnFailed(UpstreamError("It died.")) if fails else full_turn()[-1]])
    async with serving(lambda _: (TurnStarted("claude"), next(ends))) as server:
        body = {"model": "claude-sonnet", "input": "Forget me.", "stream": stream, "background": background}
        client = server.connect()
        await client.post(body, "/v1/responses", idempotency_key=KEY)
        await client.answer()
        client.leave()  # a connection keeps its last error
        await server.admission.wait_idle()
        await wait_all_tasks_blocked()
        server.backend.turns.clear()
        gc.collect()
        requests = [each for each in gc.get_objects() if isinstance(each, TurnRequest)]
        assert "Forget me." not in [each.prompt.text for each in requests]
        answer = await server.post(body, "/v1/responses", idempotency_key=KEY)
        assert answer.headers["x-claude-openai-joined"] == "true"


@streams
async def test_a_crash_ends_the_turn_for_all_and_nothing_else(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError

    async with serving(SLOW, expected_errors={"run.crashed", "http.crashed"}) as server:
        body = chat(stream=stream)
        with monkeypatch.context() as patch:
            patch.setattr("claude_openai.web.views.ChunkStream.feed", crash)
            patch.setattr("claude_openai.web.views.Completion.feed", crash)
            answer = await server.post(body, idempotency_key=KEY)
            assert (answer.status, answer.error()["code"]) == (500, "internal_error")
            assert [run.state for run in server.runs.all()] == ["cancelled"]
        assert (await server.post(body, idempotency_key=KEY)).status == 200


async def test_an_answer_that_is_too_large_to_keep_fails_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting.Lasting.__init__, "__defaults__", (1000, 100))
    async with serving(full_turn(*["x" * 100] * 20, Hang())) as server:
        for _ in range(2):
            answer = await server.post(chat(stream=True), idempotency_key=KEY)
            *_, last = answer.events()
            assert last["error"]["code"] == "answer_too_large"  # type: ignore[index]
        assert [
            (run.state, turn.outcome) for run, turn in zip(server.runs.all(), server.backend.turns, strict=True)
        ] == [("cancelled", "cancelled")]


async def test_comments_are_sent_to_each_client_while_claude_is_silent() -> None:
    async with serving(full_turn(Pause(40))) as server:
        body = chat(stream=True)
        first = await begun(server, body=body, idempotency_key=KEY)
        second = server.connect()
        await second.post(body, idempotency_key=KEY)
        bodies = [(await client.answer()).body for client in (first, second)]
        assert [body.count(b": keep-alive") for body in bodies] == [2, 2]


async def test_a_client_that_does_not_read_holds_up_no_other() -> None:
    async with serving(full_turn(*["x" * 100] * 5000)) as server:
        body = chat(stream=True)
        slow = server.connect(capacity=1000)
        await slow.post(body, idempotency_key=KEY)
        await server.backend.wait_for_turn()
        answer = await server.post(body, idempotency_key=KEY)
        assert len(answer.events()) > 5000
        assert trio.current_time() == 0


async def test_a_cancelled_run_ends_for_all_who_joined() -> None:
    async with serving(full_turn("Hel", Hang())) as server:
        clients = [await begun(server, idempotency_key=KEY) for _ in range(2)]
        server.runs.cancel_all(Overloaded("Enough."))
        for client in clients:
            assert (await client.answer()).error()["message"] == "Enough."


RETRIED: dict[str, Any] = {"x_stainless_retry_count": "1"}
FIRST: dict[str, Any] = {"x_stainless_retry_count": "0"}


async def test_the_retry_of_a_client_library_joins_the_turn_that_lost_its_client() -> None:
    async with serving(SLOW) as server:
        client = await begun(server, **FIRST)
        client.leave()
        await trio.sleep(0.5)
        answer = await server.post(chat(), **RETRIED)
        assert (answer.status, trio.current_time(), len(server.backend.turns)) == (200, 5, 1)
        await begun(server, turn=2, **RETRIED)  # the turn has ended, and its answer is not kept


async def test_the_retry_gets_the_answer_of_a_turn_that_ended_meanwhile() -> None:
    async with serving(full_turn(Pause(1), "ok")) as server:
        client = await begun(server, **FIRST)
        client.leave()
        await trio.sleep(LINGER_S - 0.1)
        assert server.backend.active == 0
        assert (await server.post(chat(), **RETRIED)).status == 200
        assert len(server.backend.turns) == 1
        client = await begun(server, turn=2, **FIRST)
        client.leave()
        await trio.sleep(LINGER_S + 0.1)
        await server.post(chat(), **RETRIED)
        assert len(server.backend.turns) == 3


async def test_a_retry_joins_no_turn_that_is_read_nor_of_another_body_nor_of_another_caller() -> None:
    async with serving(SLOW, max_concurrency=9) as server:
        await begun(server, **FIRST)
        await begun(server, turn=2, **RETRIED)
        lost = await begun(server, turn=3, authorization="Bearer a", **FIRST)
        lost.leave()
        await wait_all_tasks_blocked()
        await begun(server, turn=4, **FIRST, authorization="Bearer a")
        await begun(server, turn=5, **RETRIED)
        await begun(server, body=chat("Ho"), turn=6, **RETRIED, authorization="Bearer a")
        await begun(server, **RETRIED, authorization="Bearer a")
        assert len(server.backend.turns) == 6


async def test_the_stream_of_a_client_library_ends_with_its_connection() -> None:
    async with serving(full_turn("Hel", Hang())) as server:
        client = await begun(server, body=chat(stream=True), **FIRST)
        client.leave()
        await server.backend.turns[0].ended.wait()
        assert trio.current_time() == 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
async def test_clients_that_join_and_leave_at_random_moments_all_see_one_answer(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    bodies: dict[str, set[bytes]] = {}
    statuses: set[int] = set()

    async def client(server: Server, number: int) -> None:
        for _ in range(chance.randrange(300)):
            await trio.lowlevel.checkpoint()
        await trio.sleep(chance.choice([0, 0, 1, 2, 3]))
        stream = bool(number % 2)
        path = chance.choice(["/v1/chat/completions", "/v1/responses"])
        body = {**BODIES[path], "stream": stream, "background": stream and path == "/v1/responses"}
        joining = server.connect()
        key = f"{chance.randrange(2)}{path}{stream}"
        await joining.post(body, path, **(RETRIED if chance.random() < 0.2 else {"idempotency_key": key}))
        if chance.random() < 0.5:
            with trio.move_on_after(chance.choice([0, 1, 5])):
                await joining.head()
            joining.leave()
            return
        answer = await joining.answer()
        statuses.add(answer.status)
        if answer.status == 200:
            bodies.setdefault(answer.headers["x-claude-openai-run"], set()).add(answer.body)

    async def cancel_now_and_then(server: Server) -> None:
        for _ in range(5):
            await trio.sleep(1)
            for run in server.runs.all():
                if not run.ended and chance.random() < 0.3:
                    run.cancel(RunCancelled("Enough.", may_retry=False))

    script = full_turn(*[Pause(0)] * 20, "Hel", Pause(2), *[Pause(0)] * 20, "lo")
    async with serving(ScriptedBackend(script, cleanup_s=1), max_concurrency=5) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_now_and_then, server)
            for number in range(100):
                nursery.start_soon(client, server, number)
        await server.admission.wait_idle()
        await trio.sleep(LINGER_S + 1)
        assert statuses <= {200, 410}
        assert max(len(found) for found in bodies.values()) == 1
        assert 1 < len(server.backend.turns) < 60
