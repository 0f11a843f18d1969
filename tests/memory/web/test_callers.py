"""Who may call, through the whole stack; the checks one by one stand in `pure/web/test_access.py`."""

import pytest

from tests.memory.harness import chat, serving

PAGE = "http://page.example"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]", "\xe9"])
async def test_a_foreign_host_is_403_on_every_path(host: str) -> None:
    async with serving() as server:
        for answer in (
            await server.get("/health", host=host),
            await server.get("/v1/models", host=host),
            await server.get("/nope", host=host),
            await server.post(chat(), host=host),
        ):
            assert (answer.status, answer.error()["code"]) == (403, "host_not_allowed")
        assert server.backend.turns == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "box.internal:8000"])
async def test_our_own_names_are_let_in(host: str) -> None:
    async with serving(allowed_hosts=("box.internal",)) as server:
        assert (await server.post(chat(), host=host)).status == 200


@pytest.mark.parametrize("origin", [PAGE, "null", "http://localhost:3000", "https://127.0.0.1", "file://"])
async def test_web_page_gets_403_without_an_allowed_origin(origin: str) -> None:
    async with serving() as server:
        answer = await server.post(chat(), origin=origin)
        assert (answer.status, answer.error()["code"]) == (403, "origin_not_allowed")
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert server.backend.turns == []


async def test_cross_site_page_without_an_origin_is_refused() -> None:
    async with serving() as server:
        answer = await server.get("/v1/models", sec_fetch_site="cross-site")
        assert (answer.status, answer.error()["code"]) == (403, "origin_not_allowed")


async def test_a_preflight_of_a_page_that_is_not_allowed_is_403() -> None:
    async with serving() as server:
        answer = await server.get("/v1/chat/completions", "OPTIONS", origin=PAGE, access_control_request_method="POST")
        assert answer.status == 403


async def test_an_allowed_page_is_answered_its_preflight_and_then_its_request() -> None:
    async with serving(cors_origins=(PAGE,), api_key="a-secret-key") as server:
        preflight = await server.get(
            "/v1/chat/completions",
            "OPTIONS",
            origin=PAGE,
            access_control_request_method="POST",
            access_control_request_headers="authorization, content-type, x-stainless-lang",
        )
        assert (preflight.status, preflight.body) == (204, b"")
        assert preflight.headers["access-control-allow-origin"] == PAGE
        assert preflight.headers["access-control-allow-methods"] == "GET, POST, DELETE"
        assert preflight.headers["access-control-allow-headers"] == "authorization, content-type, x-stainless-lang"
        answer = await server.post(
            chat(), origin=PAGE, authorization="Bearer a-secret-key", sec_fetch_site="cross-site"
        )
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["vary"] == "Origin"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]


async def test_an_allowed_page_can_read_its_errors_and_its_streams() -> None:
    async with serving(cors_origins=(PAGE,), api_key="a-secret-key") as server:
        refused = await server.post(chat(), origin=PAGE)
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, PAGE)
        key = {"origin": PAGE, "authorization": "Bearer a-secret-key"}
        lost = await server.get("/nope", **key)
        assert (lost.status, lost.headers["access-control-allow-origin"]) == (404, PAGE)
        stream = await server.post(chat(stream=True), **key)
        assert (stream.status, stream.headers["access-control-allow-origin"]) == (200, PAGE)
