"""Everything that is refused or goes wrong before a turn: the true status, OpenAI's error object, an id for the log."""

import json

import pytest

from claude_openai.web.views import Views
from tests.memory.client import Answer, Headers
from tests.memory.harness import Server, chat, serving

PATH = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


def refused(answer: Answer, status: int, code: str | None, param: str | None = None) -> str:
    """Check a refusal and give its message."""
    error = answer.error()
    assert (answer.status, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == ("rate_limit_error" if status == 429 else error["type"])
    message: str = error["message"]
    assert message
    return message


async def test_an_unknown_path_is_404_and_names_the_paths_there_are() -> None:
    async with serving() as server:
        for target in ("/", "/v1", "/health/", "/v1/models/", "/v1/complete", "/%00", "/static/x", "/v1/%ff"):
            assert "/v1/chat/completions" in refused(await server.get(target), 404, "unknown_url")
        assert refused(await server.post(chat(), "/v1/embeddings"), 404, "unknown_url")


async def test_counting_the_tokens_of_a_response_is_refused_and_not_taken_for_a_stored_one() -> None:
    async with serving() as server:
        asked = {"model": "claude-sonnet", "input": "Hi"}
        answer = await server.post(asked, "/v1/responses/input_tokens")
        assert "not supported" in refused(answer, 404, "not_supported")
        for method in ("GET", "DELETE"):
            answer = await server.get("/v1/responses/input_tokens", method)
            refused(answer, 405, "method_not_allowed")
            assert set(answer.headers["allow"].split(", ")) == {"OPTIONS", "POST"}


async def test_an_unknown_model_is_404_with_its_own_code() -> None:
    async with serving() as server:
        assert "gpt-4o" in refused(await server.get("/v1/models/gpt-4o"), 404, "model_not_found", "model")
        assert "gpt-4o" in refused(await server.post(chat(model="gpt-4o")), 404, "model_not_found", "model")
        assert server.backend.turns == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", PATH, {"POST", "OPTIONS"}),
        ("DELETE", PATH, {"POST", "OPTIONS"}),
        ("BREW", "/health", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/v1/models", {"GET", "HEAD", "OPTIONS"}),
    ],
)
async def test_a_wrong_method_is_405_and_the_right_ones_are_named(method: str, path: str, allowed: set[str]) -> None:
    async with serving() as server:
        answer = await server.get(path, method)
        refused(answer, 405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == allowed


async def test_a_head_request_that_is_refused_has_no_body() -> None:
    async with serving() as server:
        answer = await server.get("/nope", "HEAD")
        assert (answer.status, answer.body, answer.headers["content-type"]) == (404, b"", "application/json")


LIMIT = 1000


async def test_a_body_of_just_the_limit_is_read() -> None:
    async with serving(max_request_bytes=LIMIT) as server:
        body = json.dumps(chat()).encode().ljust(LIMIT)
        assert (await server.ask("POST", PATH, body, headers=JSON)).status == 200
        assert (await server.ask("POST", PATH, body[:500], body[500:], headers=JSON)).status == 200


@pytest.mark.parametrize("pieces", [1, 3, 40])
async def test_a_body_above_the_limit_is_413_with_or_without_a_content_length(pieces: int) -> None:
    async with serving(max_request_bytes=LIMIT) as server:
        size = (LIMIT + pieces) // pieces
        answer = await server.ask("POST", PATH, *[b" " * size] * pieces, headers=JSON)
        assert f"{LIMIT} bytes (--max-request-bytes)" in refused(answer, 413, "request_too_large")
        assert server.backend.turns == []


async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent() -> None:
    async with serving(max_request_bytes=LIMIT) as server:
        client = server.connect()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1001\r\n\r\n"
        )
        await client.send_raw(head.encode())
        response = await client.raw_to_end()
        assert response.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_body_that_is_not_declared_as_json_is_415(kind: str) -> None:
    async with serving() as server:
        refused(await server.post(chat(), content_type=kind), 415, "unsupported_media_type")
        assert server.backend.turns == []


async def test_json_with_a_charset_is_json_and_a_compressed_body_is_415() -> None:
    async with serving() as server:
        assert (await server.post(chat(), content_type="Application/JSON; charset=utf-8")).status == 200
        refused(await server.post(chat(), content_encoding="gzip"), 415, "unsupported_media_type")
        assert (await server.post(chat(), content_encoding="identity")).status == 200


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b'"\xff"', "invalid_json", None),
        (b"{}", None, "model"),
        (b'{"model":"claude"}', "missing_required_parameter", "messages"),
        (b'{"model":"claude","messages":[]}', "invalid_value", "messages"),
        (b'{"model":"claude","messages":[{"role":"user","content":3}]}', "invalid_type", "messages[0].content"),
    ],
)
async def test_a_request_that_cannot_be_read_is_400_and_names_the_field(
    body: bytes, code: str | None, param: str | None
) -> None:
    async with serving() as server:
        refused(await server.ask("POST", PATH, body, headers=JSON), 400, code, param)
        assert server.backend.turns == []


async def test_without_the_key_everything_but_health_is_401() -> None:
    async with serving(api_key="a-secret-key") as server:
        answers = [
            await server.get("/v1/models"),
            await server.get("/nope"),
            await server.post(chat()),
            await server.post(chat(), authorization="Bearer another-key"),
            await server.get("/v1/models", authorization="Basic a-secret-key"),
        ]
        for answer in answers:
            assert "a-secret-key" not in refused(answer, 401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await server.post(chat(), authorization="Bearer a-secret-key")).status == 200
        assert (await server.get("/v1/models", authorization="bearer  a-secret-key")).status == 200


async def test_a_crash_in_a_handler_is_500_with_the_id_under_which_the_log_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def crash(self: Views) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(Views, "models", crash)
    async with serving(expected_errors=["http.crashed"]) as server:
        answer = await server.get("/v1/models")
        message = refused(answer, 500, "internal_error")
        assert "broken" not in message
        assert answer.headers["x-request-id"] in message
        (record,) = server.logged("http.crashed")
        assert record["request_id"] == answer.headers["x-request-id"]
        assert "broken" in record["error"]
        assert (await server.get("/health")).status == 200


async def errors_of_every_kind(server: Server) -> list[Answer]:
    key: Headers = {"authorization": "Bearer a-secret-key"}
    return [
        await server.get("/nope", **key),
        await server.get(PATH, **key),
        await server.get("/health"),
        await server.post({}, **key),
        await server.post(chat(), **key, content_type="text/plain"),
        await server.post(chat()),
        await server.post(chat("x" * 2000), **key),
        await server.get("/health", host="elsewhere.example"),
    ]


async def test_no_two_answers_have_the_same_request_id_and_each_is_in_the_log() -> None:
    async with serving(api_key="a-secret-key", max_request_bytes=LIMIT) as server:
        answers = await errors_of_every_kind(server)
        assert [answer.status for answer in answers] == [404, 405, 200, 400, 415, 401, 413, 403]
        logged = {record["request_id"]: record["status"] for record in server.logged("http.request")}
        assert logged == {answer.headers["x-request-id"]: answer.status for answer in answers}
