"""Logins, tickets and sessions of the page, without a server."""

import pytest
import trio
from trio.testing import MockClock
from werkzeug.datastructures import Headers

from claude_openai.config import Config
from claude_openai.errors import RateLimited, Unauthorized
from claude_openai.web.page_access import (
    FAILURES_WITHIN_S,
    MAX_ADDRESSES,
    MAX_FAILURES,
    MAX_SESSIONS,
    PAGE_HEADER,
    SESSION_S,
    TICKET_S,
    PageAccess,
    PageSession,
    cookie_name,
    first_ticket,
    is_own_page,
    page_access,
    set_cookie,
)

HOST = "127.0.0.1:8000"


def request(session: PageSession, **more: str) -> Headers:
    """Return the headers of a request of the page."""
    headers = Headers({"Host": HOST, PAGE_HEADER: session.token})
    headers["Cookie"] = f"theme=dark; {cookie_name(headers)}={session.cookie}"
    for name, value in more.items():
        headers[name.replace("_", "-")] = value
    return headers


async def test_either_key_of_the_server_begins_a_session(autojump_clock: MockClock) -> None:
    access = page_access(Config(api_key="one", control_key="other"))
    for key in ("one", "other"):
        session = access.log_in("::1", key=key)
        assert access.session_of(request(session)) == session


async def test_a_ticket_begins_one_session(autojump_clock: MockClock) -> None:
    access = page_access(Config(control_key="control"))
    for ticket in (access.new_ticket(), first_ticket("control")):
        assert access.is_open(access.log_in("::1", ticket=ticket))
        with pytest.raises(Unauthorized, match="used already"):
            access.log_in("::1", ticket=ticket)


async def test_expired_ticket_begins_no_session(autojump_clock: MockClock) -> None:
    access = PageAccess(["key"])
    ticket = access.new_ticket()
    await trio.sleep(TICKET_S)
    with pytest.raises(Unauthorized, match="too old"):
        access.log_in("::1", ticket=ticket)


async def test_after_too_many_wrong_keys_an_address_waits_but_its_tickets_are_taken(autojump_clock: MockClock) -> None:
    access = PageAccess(["key"])
    for _ in range(MAX_FAILURES):
        with pytest.raises(Unauthorized, match="wrong"):
            access.log_in("::1", key="guess")
    with pytest.raises(RateLimited) as refused:
        access.log_in("::1", key="key")
    assert refused.value.retry_after_s == FAILURES_WITHIN_S + 1
    assert access.is_open(access.log_in("::1", ticket=access.new_ticket()))
    assert access.is_open(access.log_in("::2", key="key"))
    await trio.sleep(FAILURES_WITHIN_S)
    assert access.is_open(access.log_in("::1", key="key"))


async def test_number_of_remembered_addresses_is_bounded(autojump_clock: MockClock) -> None:
    access = PageAccess(["key"])
    for number in range(MAX_ADDRESSES + 1):
        for _ in range(MAX_FAILURES):
            with pytest.raises(Unauthorized):
                access.log_in(str(number), key="guess")
    with pytest.raises(RateLimited):
        access.log_in("1", key="key")
    assert access.is_open(access.log_in("0", key="key"))


async def test_a_session_ends_after_its_time_by_a_logout_or_as_the_oldest_of_too_many(
    autojump_clock: MockClock,
) -> None:
    access = PageAccess(["key"])
    first, second, *_, last = [access.log_in("::1", key="key") for _ in range(MAX_SESSIONS + 1)]
    assert [access.is_open(each) for each in (first, second, last)] == [False, True, True]
    access.log_out(second)
    assert access.session_of(request(second)) is None
    await trio.sleep(SESSION_S)
    assert access.session_of(request(last)) is None


async def test_a_request_needs_the_cookie_and_the_token_of_one_session(autojump_clock: MockClock) -> None:
    access = PageAccess(["key"])
    one, other = (access.log_in("::1", key="key") for _ in range(2))
    assert access.session_of(request(one, X_Claude_OpenAI_Page=other.token)) is None
    assert access.session_of(request(one, X_Claude_OpenAI_Page="")) is None
    assert access.session_of(request(one, Cookie="theme=dark")) is None
    assert access.session_of(request(one, Cookie="a[b]=c; d")) is None
    assert access.session_of(request(one, Origin="http://elsewhere")) is None


@pytest.mark.parametrize(
    ("headers", "is_own"),
    [
        ({}, True),
        ({"Origin": f"http://{HOST}"}, True),
        ({"Origin": f"HTTPS://{HOST}"}, True),
        ({"Origin": "null"}, False),
        ({"Origin": "http://127.0.0.1:9000"}, False),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
    ],
)
def test_the_page_is_of_the_same_scheme_host_and_port(headers: dict[str, str], is_own: bool) -> None:
    assert is_own_page(Headers({"Host": HOST, **headers})) is is_own


@pytest.mark.parametrize(
    ("host", "name"), [(HOST, "claude_openai_8000"), ("name", "claude_openai_page"), ("a:²", "claude_openai_page")]
)
def test_the_name_of_the_cookie_has_the_port(host: str, name: str) -> None:
    assert cookie_name(Headers({"Host": host})) == name


async def test_the_cookie_is_for_the_control_routes_and_secure_behind_tls() -> None:
    session = PageSession("the cookie", "the token", 0.0)
    plain = set_cookie(Headers({"Host": HOST}), session)
    assert plain == (f"claude_openai_8000=the cookie; Path=/control; Max-Age={SESSION_S}; HttpOnly; SameSite=Strict")
    secure = Headers({"Host": HOST, "Origin": f"https://{HOST}"})
    assert set_cookie(secure, session) == plain + "; Secure"
    assert set_cookie(secure, None).startswith("claude_openai_8000=; Path=/control; Max-Age=0;")
