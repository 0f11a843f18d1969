"""The page: its files, its login, and who may not use it."""

import json
import re
from typing import Any

import pytest
import trio

from claude_openai.testing import Hang
from claude_openai.web import page_access
from claude_openai.web.page_access import MAX_FAILURES, MAX_SESSIONS, SESSION_S, first_ticket
from tests.memory.client import HOST, Answer, Client
from tests.memory.harness import Server, chat, serving
from tests.scripted_backend import full_turn

CONTROL, KEY = "the-control-key", "the-api-key"
OWN = f"http://{HOST}"
FILES = [
    "/dashboard",
    *(f"/dashboard/{name}" for name in ("index.html", "page.css", "page.js", "stream.js", "icon.svg")),
]
RUN = "run_" + "0" * 24
# A request that a browser says comes from the page itself.
SAME = {"sec_fetch_site": "same-origin"}


async def log_in(server: Server, given: Any, **headers: str) -> Answer:
    return await server.post(given, "/dashboard/login", **{"origin": OWN, **SAME, **headers})


async def credentials(server: Server, **given: str) -> dict[str, str]:
    """The headers of a page that has logged in, as for `Server.get`."""
    answer = await log_in(server, given)
    assert answer.status == 200, answer.body
    cookie = answer.headers["set-cookie"].partition(";")[0]
    return {"cookie": cookie, "x_claude_openai_page": answer.json()["token"], **SAME}


@pytest.mark.parametrize("path", FILES)
async def test_its_files_need_no_key_and_allow_nothing_from_outside(path: str) -> None:
    async with serving(control_key=CONTROL, api_key=KEY) as server:
        answer = await server.get(path)
        assert answer.status == 200
        policy = answer.headers["content-security-policy"].split("; ")
        assert policy[0] == "default-src 'none'"
        assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "script-src 'self'"} <= {*policy}
        assert not re.search(r"unsafe|https?:|\*|data:|blob:", answer.headers["content-security-policy"])
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        text = answer.body.decode()
        assert not re.search(
            r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|insertAdjacentHTML|eval\(|\son\w+=|style=", text
        )
        assert KEY not in text
        assert CONTROL not in text


@pytest.mark.parametrize("path", ["/control/logout", "/control/tickets", "/dashboard/login"])
async def test_body_that_is_no_object_is_refused(path: str) -> None:
    async with serving(control_key=CONTROL) as server:
        answer = await server.post([None], path, authorization=f"Bearer {CONTROL}", origin=OWN, **SAME)
        assert answer.status == 400


async def test_login_has_only_post() -> None:
    async with serving(control_key=CONTROL) as server:
        answer = await server.get("/dashboard/login", "OPTIONS")
        assert {*answer.headers["allow"].split(", ")} == {"OPTIONS", "POST"}


async def test_the_root_leads_to_it() -> None:
    async with serving(control_key=CONTROL) as server:
        answer = await server.get("/")
        assert (answer.status, answer.headers["location"]) == (302, "/dashboard")


@pytest.mark.parametrize(
    ("path", "change", "status"),
    [
        ("/dashboard", {}, 200),
        ("/", {}, 302),
        ("/dashboard", {"sec_fetch_dest": "iframe"}, 403),
        ("/dashboard", {"sec_fetch_mode": "no-cors"}, 403),
        ("/dashboard", {"origin": "http://evil.example"}, 403),
        ("/dashboard/page.js", {}, 403),
        ("/control/watch", {}, 403),
        ("/v1/models", {}, 403),
    ],
)
async def test_another_site_may_link_to_it_but_neither_frame_nor_read_it(
    path: str, change: dict[str, str], status: int
) -> None:
    visit = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    async with serving(control_key=CONTROL) as server:
        assert (await server.get(path, **visit | change)).status == status


@pytest.mark.parametrize("path", ["/", "/dashboard", "/dashboard/page.js"])
async def test_without_any_key_there_is_no_page(path: str) -> None:
    async with serving() as server:
        assert (await server.get(path)).status == 404


@pytest.mark.parametrize("name", ["__init__.py", "..%2Fapp.py", "x", "%2e%2e/app.py"])
async def test_no_other_file_can_be_read(name: str) -> None:
    async with serving(control_key=CONTROL) as server:
        assert (await server.get(f"/dashboard/{name}")).status == 404


async def test_the_key_opens_a_session_whose_cookie_is_for_this_server_only() -> None:
    async with serving(control_key=CONTROL, api_key=KEY) as server:
        answer = await log_in(server, {"key": KEY})
        assert answer.headers["cache-control"] == "no-store"
        value, *attributes = answer.headers["set-cookie"].split("; ")
        name, _, secret = value.partition("=")
        assert name == "claude_openai_8000"
        assert attributes == ["Path=/control", f"Max-Age={SESSION_S}", "HttpOnly", "SameSite=Strict"]
        assert KEY not in answer.headers["set-cookie"]
        assert answer.json().keys() == {"token"}
        assert secret != answer.json()["token"]
        page = await credentials(server, key=KEY)
        assert (await server.get("/control/status", **page)).status == 200


async def test_behind_https_the_cookie_is_secure() -> None:
    async with serving(api_key=KEY) as server:
        answer = await log_in(server, {"key": KEY}, origin=f"https://{HOST}")
        assert answer.headers["set-cookie"].endswith("; Secure")


async def test_the_page_learns_whether_to_ask_for_a_key() -> None:
    async with serving(api_key=KEY, control_key=CONTROL) as server:
        assert (await log_in(server, {})).json() == {"login": "key"}
    async with serving(control_key=CONTROL) as server:
        answer = await log_in(server, {})
        assert answer.json() == {"login": "ticket"}
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("given", [{"key": "wrong"}, {"key": KEY + "x"}, {"ticket": "x"}, {"ticket": KEY}, {"key": ""}])
async def test_a_wrong_key_or_ticket_opens_nothing(given: dict[str, str]) -> None:
    async with serving(api_key=KEY, control_key=CONTROL) as server:
        answer = await log_in(server, given)
        assert answer.status == 401
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("given", [[], "x", {"key": 1}, {"key": KEY, "ticket": "x"}, {"other": "x"}, None])
async def test_another_form_of_login_is_refused(given: Any) -> None:
    async with serving(api_key=KEY) as server:
        assert (await log_in(server, given)).status == 400


async def test_wrong_keys_are_bounded_and_the_right_one_waits_too_but_not_a_ticket() -> None:
    async with serving(api_key=KEY, control_key=CONTROL) as server:
        assert [(await log_in(server, {"key": "x"})).status for _ in range(MAX_FAILURES)] == [401] * MAX_FAILURES
        refused = await log_in(server, {"key": KEY})
        assert (refused.status, "retry-after" in refused.headers) == (429, True)
        assert (await log_in(server, {"ticket": first_ticket(CONTROL)})).status == 200
        await trio.sleep(61)
        assert (await log_in(server, {"key": KEY})).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example", "sec_fetch_site": "cross-site"}, 403),
        ({"origin": "http://127.0.0.1:9999", "sec_fetch_site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 403),
        ({"content_type": "text/plain"}, 415),
    ],
)
async def test_no_other_page_can_log_in_not_even_with_the_key(headers: dict[str, str], status: int) -> None:
    async with serving(api_key=KEY) as server:
        assert (await log_in(server, {"key": KEY}, **headers)).status == status


async def test_a_page_that_cors_allows_has_no_part_in_it() -> None:
    origin = "http://app.example"
    async with serving(api_key=KEY, cors_origins=(origin,)) as server:
        cross = {"origin": origin, "sec_fetch_site": "cross-site"}
        assert (await log_in(server, {"key": KEY}, **cross)).status == 403
        page = await credentials(server, key=KEY)
        assert (await server.get("/control/status", **{**page, **cross})).status == 401


WATCH, CANCEL, RUNS = "GET /control/watch", f"POST /control/runs/{RUN}/cancel", "GET /control/runs"


async def ask(server: Server, what: str, headers: dict[str, str]) -> int:
    method, path = what.split()
    if method == "POST":
        return (await server.post({}, path, **headers)).status
    return (await server.get(path, **headers)).status


@pytest.mark.parametrize("what", [WATCH, CANCEL, RUNS, "POST /control/conversations/x/close"])
@pytest.mark.parametrize(
    "change",
    [
        {"x_claude_openai_page": ""},
        {"x_claude_openai_page": "guessed"},
        {"cookie": ""},
        {"cookie": "claude_openai_8000=guessed"},
        {"cookie": "claude_openai_8000="},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site"},
        {"origin": "http://evil.example"},
        {"host": "evil.example"},
    ],
)
async def test_the_cookie_without_the_token_or_from_elsewhere_opens_nothing(what: str, change: dict[str, str]) -> None:
    async with serving(control_key=CONTROL, api_key=KEY) as server:
        page = await credentials(server, key=KEY)
        assert await ask(server, what, page | change) in (401, 403)


async def test_the_token_of_one_session_does_not_fit_the_cookie_of_another() -> None:
    async with serving(api_key=KEY) as server:
        one, other = await credentials(server, key=KEY), await credentials(server, key=KEY)
        mixed = one | {"cookie": other["cookie"]}
        assert (await server.get("/control/status", **mixed)).status == 401


async def test_a_session_opens_nothing_beside_the_control_routes() -> None:
    async with serving(api_key=KEY) as server:
        page = await credentials(server, key=KEY)
        assert (await server.get("/v1/models", **page)).status == 401
        assert (await server.post(chat(), **page)).status == 401
        assert (await server.post({}, "/control/tickets", **page)).status == 401


async def test_a_run_can_be_cancelled_from_the_page_and_its_client_is_told() -> None:
    async with serving(full_turn("a", Hang()), control_key=CONTROL) as server:
        page = await credentials(server, ticket=first_ticket(CONTROL))
        stream = await server.streaming()
        await stream.until_text("a")
        run_id = server.runs.all()[0].id
        answer = await server.post({}, f"/control/runs/{run_id}/cancel", origin=OWN, **page)
        assert answer.json()["status"] == "cancelled"
        assert "cancelled" in json.dumps(await stream.events())


async def test_a_session_ends_after_its_time_and_with_it_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_access, "SESSION_S", 600)
    async with serving(control_key=CONTROL) as server:
        page = await credentials(server, ticket=first_ticket(CONTROL))
        client = await stream_of(server, page)
        while await client.event() is not None:
            pass
        assert 600 <= trio.current_time() <= 620
        assert (await server.get("/control/status", **page)).status == 401


async def test_a_logout_ends_the_session_and_its_stream() -> None:
    async with serving(control_key=CONTROL) as server:
        page = await credentials(server, ticket=first_ticket(CONTROL))
        client = await stream_of(server, page)
        answer = await server.post({}, "/control/logout", origin=OWN, **page)
        assert (answer.json(), "Max-Age=0" in answer.headers["set-cookie"]) == ({"ended": True}, True)
        while await client.event() is not None:
            pass
        assert (await server.get("/control/status", **page)).status == 401


async def stream_of(server: Server, page: dict[str, str]) -> Client:
    client = server.connect()
    await client.send("GET", "/control/watch", headers={name.replace("_", "-"): each for name, each in page.items()})
    assert (await client.head())[0] == 200
    await client.event()
    return client


async def test_sessions_are_bounded_and_the_oldest_ends() -> None:
    async with serving(api_key=KEY) as server:
        first = await credentials(server, key=KEY)
        for _ in range(MAX_SESSIONS):
            last = await credentials(server, key=KEY)
        assert (await server.get("/control/status", **first)).status == 401
        assert (await server.get("/control/status", **last)).status == 200


@pytest.mark.parametrize("is_asked_for", [False, True])
async def test_a_ticket_is_good_for_one_login(is_asked_for: bool) -> None:
    async with serving(control_key=CONTROL) as server:
        ticket = first_ticket(CONTROL)
        if is_asked_for:
            ticket = (await server.post({}, "/control/tickets", authorization=f"Bearer {CONTROL}")).json()["ticket"]
        assert (await log_in(server, {"ticket": ticket})).status == 200
        again = await log_in(server, {"ticket": ticket})
        assert (again.status, again.error()["code"]) == (401, "invalid_ticket")
        assert "claude-openai dashboard" in again.error()["message"]


async def test_a_ticket_ages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_access, "TICKET_S", 600)
    async with serving(control_key=CONTROL) as server:
        await trio.sleep(590)
        ticket = (await server.post({}, "/control/tickets", authorization=f"Bearer {CONTROL}")).json()["ticket"]
        await trio.sleep(11)
        assert (await log_in(server, {"ticket": first_ticket(CONTROL)})).status == 401
        assert (await log_in(server, {"ticket": ticket})).status == 200


@pytest.mark.parametrize("key", ["", "Bearer wrong"])
async def test_a_ticket_needs_a_key(key: str) -> None:
    async with serving(control_key=CONTROL) as server:
        assert (await server.post({}, "/control/tickets", authorization=key)).status == 401


async def test_no_key_ticket_cookie_or_token_is_in_the_log() -> None:
    async with serving(control_key=CONTROL, api_key=KEY) as server:
        await log_in(server, {"key": "a-wrong-key"})
        by_key = await credentials(server, key=KEY)
        by_ticket = await credentials(server, ticket=first_ticket(CONTROL))
        for page in (by_key, by_ticket):
            await server.get("/control/status", **page)
        log = json.dumps(server.records)
        for page in (by_key, by_ticket):
            assert page["cookie"].partition("=")[2] not in log
            assert page["x_claude_openai_page"] not in log
        assert all(secret not in log for secret in (KEY, CONTROL, first_ticket(CONTROL), "a-wrong-key"))
        assert "invalid_api_key" in log
