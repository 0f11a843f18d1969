"""Malformed requests: each is answered with a 4xx, OpenAI's error object and a request id, and breaks nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.hostile.requests import BODY, HOSTILE, get, post
from tests.memory.client import Answer
from tests.memory.harness import Server, run_in_memory, serving

LABEL = b"a" * 300


async def answered(server: Server, raw: bytes) -> Answer:
    """What comes for these bytes, after which the client sends no more."""
    client = server.connect()
    await client.send_raw(raw)
    head, _, body = (await client.raw_to_end()).partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    assert status, raw
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(status.split()[1]), headers, body)


def assert_refused(answer: Answer, status: int, code: str) -> None:
    error = answer.error()
    assert (answer.status, error["type"], error["code"]) == (status, "invalid_request_error", code)
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "host", [b".localhost", b"a..localhost", b"..", b".", LABEL + b".localhost", LABEL, b"a..evil.example"]
)
async def test_a_host_that_is_no_name_is_400(host: bytes) -> None:
    async with serving() as server:
        answer = await answered(server, get(host=host))
        assert_refused(answer, 400, "invalid_http")
        assert "Host header" in answer.error()["message"]
        (line,) = server.logged("http.request")
        assert (line["status"], line["request_id"]) == (400, answer.headers["x-request-id"])


@pytest.mark.parametrize(
    "target",
    [
        b"?x",
        b"?",
        b"http://[",
        b"http://[x]/",
        b"https://[::1/health",
        b"http://a]b/",
        b"http://user:pw@[/",
        b"x://[/y",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_target_that_is_neither_path_nor_url_is_400(target: bytes, method: bytes) -> None:
    async with serving() as server:
        answer = await answered(server, get(target, method=method))
        assert_refused(answer, 400, "invalid_http")
        assert "request target" in answer.error()["message"]
        assert len(server.logged("http.request")) == 1
        assert server.runs.metrics.in_flight == 0


@pytest.mark.parametrize(
    "accept",
    [
        b"application/openmetrics-text;version=\xff,;q=",
        b"application/openmetrics-text;version=a.b.c",
        b"application/openmetrics-text;version=..",
        b'text/plain; version="1',
    ],
)
async def test_an_accept_header_that_metrics_cannot_read_is_400(accept: bytes) -> None:
    async with serving() as server:
        answer = await answered(server, get(b"/metrics", b"Accept: " + accept))
        assert_refused(answer, 400, "invalid_header")
        assert "Accept header" in answer.error()["message"]


@pytest.mark.parametrize(
    "accept", [b"", b";;;,,,", b"=", b"*/*;q=x", b"a" * 5000, b"application/openmetrics-text;version=;q="]
)
async def test_an_odd_accept_header_that_names_no_version_gets_the_metrics(accept: bytes) -> None:
    async with serving() as server:
        answer = await answered(server, get(b"/metrics", b"Accept: " + accept))
        assert answer.status == 200
        assert b"claude_openai_build_info" in answer.body


@pytest.mark.parametrize("coding", [b"gzip", b"chunked, chunked", b"identity"])
async def test_an_unknown_transfer_coding_is_400(coding: bytes) -> None:
    async with serving() as server:
        answer = await answered(server, post(b"Transfer-Encoding: " + coding))
        assert_refused(answer, 400, "invalid_http")
        assert "chunked" in answer.error()["message"]


@pytest.mark.parametrize("content_type", [b"application/json", b"text/plain"])
@pytest.mark.parametrize("chunk", [b"zz\r\n", b"4\r\nabcdX", b"-1\r\n", b"ffffffffffffffffffffff\r\n"])
async def test_a_body_that_breaks_off_in_nonsense_is_400_with_its_body(content_type: bytes, chunk: bytes) -> None:
    # The app answers the second one itself, at the same moment.
    async with serving() as server:
        head = get(b"/v1/chat/completions", b"Content-Type: " + content_type, b"Transfer-Encoding: chunked")
        answer = await answered(server, head.replace(b"GET", b"POST", 1) + chunk)
        assert answer.status in (400, 415)
        assert answer.error()["type"] == "invalid_request_error"


async def test_what_fails_outside_of_the_error_handler_is_500_with_an_error_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(expected_errors=["http.crashed"]) as server:

        def broken(*_: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr("quart.app.Quart.create_url_adapter", broken)
        answer = await answered(server, get())
        monkeypatch.undo()
        assert (answer.status, answer.error()["code"]) == (500, "internal_error")
        assert answer.headers["x-request-id"] in answer.error()["message"]
        (record,) = server.logged("http.crashed")
        assert "broken" in record["traceback"]


async def test_no_hostile_request_gets_a_5xx_or_less_than_an_error_object_and_an_id() -> None:
    assert len(HOSTILE) > 100
    async with serving(hold_status_ms=1) as server:
        for raw in HOSTILE:
            check(raw, await answered(server, raw))
        assert (await server.get("/health")).status == 200


def check(raw: bytes, answer: Answer) -> None:
    assert 200 <= answer.status < 500, raw
    assert answer.headers["x-request-id"].startswith("req_"), raw
    if answer.status >= 400:
        assert answer.error()["message"], raw


# Where, how many bytes go, and what comes in their place.
edits = st.tuples(
    st.integers(0, 400),
    st.integers(0, 8),
    st.binary(max_size=3)
    | st.sampled_from(
        [b"[", b"..", b"%", b"?", b"://", b"\r\n", b"\n", b":", b";", b",", b"=", b"\xff", LABEL, b"9" * 30]
    ),
)


@given(
    st.sampled_from([get(), get(b"/metrics", b"Accept: text/plain;version=1.0.0"), get(b"http://[::1]:80/v1/models?a=b#c"),
                     post(b"Content-Length: %d" % len(BODY)),
                     post(b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))]),
    st.lists(edits, min_size=1, max_size=3),
)  # fmt: skip
@example(raw=post(b"Content-Length: %d" % len(BODY)), damage=[(105, 3, b"\n"), (106, 0, b"\x00")])
def test_no_damaged_request_gets_a_5xx_or_less_than_an_error_object_and_an_id(
    raw: bytes, damage: list[tuple[int, int, bytes]]
) -> None:
    for place, gone, new in damage:
        raw = raw[:place] + new + raw[place + gone :]

    async def run() -> None:
        async with serving(hold_status_ms=1) as server:
            client = server.connect()
            await client.send_raw(raw)
            data = await client.raw_to_end()  # if need be, when the time for a request is over
            # A request that is not complete has no answer; one whose length is wrong may be two requests.
            while data:
                head, _, rest = data.partition(b"\r\n\r\n")
                status, *lines = head.decode("latin-1").split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines)
                length = int(headers.get("content-length", len(rest)))
                check(raw, Answer(int(status.split()[1]), headers, rest[:length]))
                data = rest[length:]

    run_in_memory(run)
