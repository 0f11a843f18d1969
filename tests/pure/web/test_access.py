"""Who may call: the checks one by one. Through the whole stack they stand in `memory/web/test_callers.py`."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from claude_openai.config import Config
from claude_openai.errors import Forbidden, Unauthorized, UnsupportedMediaType
from claude_openai.web.access import Guard, cors_headers, preflight_headers

KEY = "a-secret-key"
PAGE = "http://page.example"
LOCAL = "127.0.0.1"


def guard(**settings: Any) -> Guard:
    return Guard(Config(**settings))


OURS = [
    *("localhost", "LocalHost", "localhost:8000", "localhost.", "localhost.:8000", "app.localhost", "App.LocalHost:1"),
    *("127.0.0.1", "127.0.0.1:8000", "127.1.2.3", "127.0.0.1.", "[::1]", "[::1]:8000"),
    *("box.internal", "BOX.internal:8000", "box.internal.", "10.0.0.7", "10.0.0.7:8000"),
]
FOREIGN = [
    *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evillocalhost", "localhost@evil.example"),
    *("127.0.0.1@evil.example:80", "10.0.0.8", "[::2]:8000", "[fe80::1]", "0.0.0.1", "box.internal.evil.example"),
    *("xbox.internal", "2130706433", "0x7f.1", " ", ":8000", ".", "::1", "[]", "127.0.0.1,evil.example"),
]


@pytest.mark.parametrize("host", OURS)
def test_loopback_names_the_bound_address_and_allowed_names_are_ours(host: str) -> None:
    guard(allowed_hosts=("Box.internal",)).check_host(host, "10.0.0.7")


@pytest.mark.parametrize("host", FOREIGN)
def test_every_other_name_is_foreign(host: str) -> None:
    with pytest.raises(Forbidden) as caught:
        guard(allowed_hosts=("box.internal",)).check_host(host, "10.0.0.7")
    assert caught.value.code == "host_not_allowed"
    assert "--allowed-hosts" in caught.value.message


@pytest.mark.parametrize("host", [None, ""])
def test_a_request_without_a_host_is_let_in(host: str | None) -> None:
    guard().check_host(host, LOCAL)


@pytest.mark.parametrize(
    ("host", "address"), [("[fd00::7]:8000", "fd00::7"), ("[FD00:0::7]", "fd00::7"), ("192.168.1.5", "192.168.1.5")]
)
def test_the_address_the_client_has_reached_is_ours_however_it_is_spelt(host: str, address: str) -> None:
    guard().check_host(host, address)
    with pytest.raises(Forbidden):
        guard().check_host(host, LOCAL)


def test_the_name_the_server_was_bound_to_is_ours() -> None:
    guard(host="Box.Example", api_key=KEY).check_host("box.example:8000", "10.0.0.7")


@given(st.text())
def test_no_host_header_breaks_the_check(host: str) -> None:
    with contextlib.suppress(Forbidden):
        guard().check_host(host, LOCAL)


def check_origin(
    origin: str | None, host: str = "localhost:8000", site: str | None = None, **settings: object
) -> str | None:
    headers = Headers({"Host": host})
    if origin is not None:
        headers["Origin"] = origin
    if site is not None:
        headers["Sec-Fetch-Site"] = site
    return guard(**settings).check_origin(headers)


@pytest.mark.parametrize("site", [None, "none", "same-origin"])
def test_request_without_origin_is_allowed_unless_cross_site(site: str | None) -> None:
    assert check_origin(None, site=site) is None


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "Cross-Site", "new-in-2027"])
@pytest.mark.parametrize("cors_origins", [(), (PAGE,), ("*",)])
def test_a_request_of_another_site_without_an_origin_is_refused(site: str, cors_origins: tuple[str, ...]) -> None:
    with pytest.raises(Forbidden, match="another site"):
        check_origin(None, site=site, cors_origins=cors_origins, api_key=KEY)


@pytest.mark.parametrize("origin", ["http://localhost:8000", "https://localhost:8000", "HTTP://LOCALHOST:8000"])
def test_our_own_origin_is_let_in_and_needs_no_headers(origin: str) -> None:
    assert check_origin(origin) is None


@pytest.mark.parametrize(
    "origin",
    [PAGE, "null", "", "http://localhost", "http://localhost:8001", "ftp://localhost:8000", "http://localhost:8000/",
     "file://", "http://localhost:8000.evil.example", f"{PAGE}.evil.example", "http://", "vscode-webview://x"],
)  # fmt: skip
def test_every_other_origin_is_refused(origin: str) -> None:
    with pytest.raises(Forbidden) as caught:
        check_origin(origin)
    assert caught.value.code == "origin_not_allowed"
    assert "--cors-origins" in caught.value.message


def test_allowed_origins_get_the_cors_header() -> None:
    settings: dict[str, Any] = {"cors_origins": (PAGE, "http://localhost:3000")}
    assert check_origin(PAGE, site="cross-site", **settings) == PAGE
    assert check_origin("http://localhost:3000", **settings) == "http://localhost:3000"
    with pytest.raises(Forbidden):
        check_origin("http://localhost:3001", **settings)


@pytest.mark.parametrize("origin", [PAGE, "null", "http://localhost:3000"])
def test_a_star_lets_every_origin_in_by_its_own_name(origin: str) -> None:
    assert check_origin(origin, cors_origins=("*",), api_key=KEY) == origin


def test_the_answer_to_an_allowed_origin_is_not_cached_for_others() -> None:
    assert cors_headers(PAGE)["vary"] == "Origin"
    assert cors_headers(PAGE)["access-control-allow-origin"] == PAGE


def test_a_preflight_allows_what_was_asked_and_no_more_methods_than_there_are() -> None:
    assert preflight_headers("authorization, x-more")["access-control-allow-headers"] == "authorization, x-more"
    assert preflight_headers("")["access-control-allow-headers"] == "authorization, content-type"
    assert preflight_headers("")["access-control-allow-methods"] == "GET, POST, DELETE"


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER   {KEY}", f"Bearer {KEY} "])
def test_the_right_key_is_let_in(header: str) -> None:
    guard(api_key=KEY).check_key(header)


@pytest.mark.parametrize(
    "header", [None, "", KEY, "Bearer", "Bearer ", f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}",
               f"Bearer {KEY.upper()}", f"Bearer Bearer {KEY}", "Bearer \u00e9\u20ac", f"Bearer\t{KEY}"],
)  # fmt: skip
def test_every_other_key_is_refused_and_none_is_repeated(header: str | None) -> None:
    with pytest.raises(Unauthorized) as caught:
        guard(api_key=KEY).check_key(header)
    assert KEY.lower() not in caught.value.message.lower()
    assert caught.value.message.startswith("The API key is missing" if not header else "The API key is wrong")


@given(st.none() | st.text())
def test_without_a_key_of_its_own_the_server_asks_for_none(header: str | None) -> None:
    guard().check_key(header)


def test_keys_are_compared_in_constant_time_and_by_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return first == second

    monkeypatch.setattr("claude_openai.web.access.hmac.compare_digest", compare)
    guard(api_key=KEY).check_key(f"Bearer {KEY}")
    with pytest.raises(Unauthorized):
        guard(api_key=KEY).check_key("Bearer x")
    assert len(compared) == 2
    assert {len(digest) for pair in compared for digest in pair} == {32}


def test_a_control_key_is_compared_with_all_that_fit_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return first == second

    monkeypatch.setattr("claude_openai.web.access.hmac.compare_digest", compare)
    for key in (KEY, "control"):
        guard(api_key=KEY, control_key="control").check_control_key(f"Bearer {key}")
    with pytest.raises(Unauthorized):
        guard(api_key=KEY, control_key="control").check_control_key("Bearer x")
    assert len(compared) == 6
    assert {len(digest) for pair in compared for digest in pair} == {32}


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON", "application/json; charset=utf-8", " application/json ;x"]
)
def test_json_is_taken(kind: str) -> None:
    guard().check_body_type(Headers({"Content-Type": kind}))
    guard().check_body_type(Headers({"Content-Type": kind, "Content-Encoding": "Identity"}))


# The first three are what a page can send without the browser asking first.
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None, "", "json",
             "text/plain; application/json", "application/jsonp", "application/json, text/plain"],
)  # fmt: skip
def test_nothing_else_is_taken(kind: str | None) -> None:
    with pytest.raises(UnsupportedMediaType, match="Content-Type: application/json"):
        guard().check_body_type(Headers({} if kind is None else {"Content-Type": kind}))


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, identity", ""])
def test_a_compressed_body_is_not_taken(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="Compressed"):
        guard().check_body_type(Headers({"Content-Type": "application/json", "Content-Encoding": encoding}))


@given(st.text(), st.text(), st.text())
def test_no_header_breaks_a_check(origin: str, site: str, kind: str) -> None:
    headers = Headers()
    for name, value in (("Origin", origin), ("Sec-Fetch-Site", site), ("Content-Type", kind), ("Host", origin)):
        if not set(value) & set("\r\n"):  # no HTTP parser lets one through
            headers[name] = value
    for check in (guard().check_origin, guard().check_body_type):
        with contextlib.suppress(Forbidden, UnsupportedMediaType):
            check(headers)
