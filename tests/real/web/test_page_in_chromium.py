"""The page in a real browser: what it shows, when, what can be done with it, and what other pages cannot do.

Screenshots and measures are written to the folder that CLAUDE_OPENAI_SCREENSHOTS names, else to that of the test.
"""

import json
import os
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest
import trio

from claude_openai import Config, serve
from claude_openai.claude.backend import ClaudeProcess, Emit, Parked, WaitingConversation
from claude_openai.errors import UpstreamError
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import TurnFailed, Usage
from claude_openai.protocol.turn.reports import AccountLimits, ModelSpent, Spent, Window
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.testing import Hang, Pause
from claude_openai.web.page_access import first_ticket
from tests.conditions import CHROMIUM, needs
from tests.scripted_backend import ScriptedBackend, TurnStep, full_turn

pytestmark = [pytest.mark.long, needs("chromium")]

KEY: Final = "the-api-key"
CONTROL: Final = "the-control-key"
WAIT_MS: Final = 20_000
WAIT_S: Final = WAIT_MS / 1000
SCREENSHOTS: Final = os.environ.get("CLAUDE_OPENAI_SCREENSHOTS")
ANSWER: Final = "The tests fail because `parse()` gets bytes where it expects text. I decode them first.\n"


class Shown(ScriptedBackend):
    """Turns that are named by their prompts, and the rest of what the page shows."""

    def __init__(self) -> None:
        super().__init__(_script)
        self.waiting = [WaitingConversation("c-1", "idle", "claude-sonnet-5", 14, time.time() - 90)]
        self.waiting.append(WaitingConversation("c-2", "parked", "claude-opus-5", 42, time.time() - 5))

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> Parked | None:
        windows = {
            "five_hour": Window(0.42, time.time() + 7200, "allowed"),
            "seven_day": Window(0.87, time.time() + 200_000, "allowed_warning"),
        }
        emit.report(AccountLimits(windows=windows, overage="", uses_overage=False))
        spent = ModelSpent(Usage(8000, 120_000, 900, 700), 0.0421)
        emit.report(Spent({"claude-sonnet-5": spent}, at_list_price=True))
        return await super().turn(request, emit, log)

    def conversations(self) -> list[WaitingConversation]:
        return self.waiting

    def processes(self) -> list[ClaudeProcess]:
        return [ClaudeProcess("idle", 96), ClaudeProcess("parked", 120), ClaudeProcess("spare", 88)]

    async def close_conversation(self, conversation: str) -> bool:
        await trio.lowlevel.checkpoint()
        self.waiting = [each for each in self.waiting if each.id != conversation]
        return True


def _script(request: TurnRequest) -> tuple[TurnStep, ...]:
    match request.prompt.text:
        case "grow":
            return full_turn("Hel", Pause(0.5), "lo", Hang())
        case "hang":
            return full_turn(ANSWER, Hang())
        case "fail":
            return (TurnFailed(UpstreamError("Claude Code died", hint="Run `claude-openai doctor`.")),)
        case "html":
            return full_turn("<img src=x onerror=alert(1)> <b>bold</b>")
    return full_turn(ANSWER)


@dataclass
class Served:
    """A server, and requests of its clients."""

    url: str
    backend: Shown
    key: str | None
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16))

    def ask(self, prompt: str) -> Future[tuple[int, str]]:
        """Ask for an answer, from a thread: its status and body."""
        return self.pool.submit(self._ask, prompt)

    def _ask(self, prompt: str) -> tuple[int, str]:
        body = json.dumps({"model": "claude-sonnet", "messages": [{"role": "user", "content": prompt}]}).encode()
        headers = {"content-type": "application/json", "user-agent": "OpenAI/Python 2.54.0"}
        headers |= {"authorization": f"Bearer {self.key}"} if self.key else {}
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", body, headers)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()


@contextmanager
def serving(port: int = 0, **settings: Any) -> Iterator[Served]:
    """A server in a thread, for the length of the block."""
    backend, urls, stop = Shown(), Future[str](), Future[Any]()

    async def run() -> None:
        stopping = trio.Event()
        stop.set_result((trio.lowlevel.current_trio_token(), stopping))
        config = Config(port=port, log=False, drain_timeout_ms=0, control_key=CONTROL, max_concurrency=3, **settings)
        async with trio.open_nursery() as nursery:
            urls.set_result((await nursery.start(partial(serve, config, backend=backend, stop=stopping)))[0])

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    try:
        served = Served(urls.result(WAIT_S), backend, settings.get("api_key"))
        with served.pool:
            yield served
            token, stopping = stop.result(WAIT_S)
            token.run_sync_soon(stopping.set)
    finally:
        thread.join(WAIT_S)


@pytest.fixture
def browser() -> Iterator[Any]:
    """A browser for this test alone: in this folder no process may outlive its test."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@contextmanager
def browsing(browser: Any, **options: Any) -> Iterator[Any]:
    """A page of a fresh profile, whose errors fail the test, and which asks no other host."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    hosts: set[str] = set()
    problems: list[str] = []
    context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))
    page.on("pageerror", lambda error: problems.append(str(error)))
    try:
        yield page
        assert hosts <= {"127.0.0.1"}
        assert not problems
    finally:
        context.close()


def log_in(page: Any, served: Served) -> None:
    page.goto(f"{served.url}/")
    page.get_by_label("Key of this server").fill(KEY)
    page.get_by_role("button", name="Show").click()
    page.locator("#connection.live").wait_for()


def keep(folder: Path, name: str, content: str | bytes) -> None:
    """Write what people look at."""
    target = Path(SCREENSHOTS) if SCREENSHOTS else folder
    target.mkdir(parents=True, exist_ok=True)
    (target / name).write_bytes(content.encode() if isinstance(content, str) else content)


def test_the_key_is_asked_for_once_and_a_wrong_one_is_refused(browser: Any, tmp_path: Path) -> None:
    with serving(api_key=KEY) as served, browsing(browser) as page:
        page.goto(f"{served.url}/dashboard")
        page.get_by_label("Key of this server").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("The key is wrong").wait_for()
        assert not page.locator("#page").is_visible()
        keep(tmp_path, "login.png", page.screenshot())
        log_in(page, served)
        page.reload()
        page.locator("#connection.live").wait_for()
        (cookie,) = page.context.cookies(f"{served.url}/control/watch")
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/control")
        assert KEY not in json.dumps(page.context.storage_state())
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Key of this server").wait_for()
        page.reload()
        page.get_by_label("Key of this server").wait_for()


def test_a_ticket_in_the_address_logs_in_and_leaves_it(browser: Any) -> None:
    with serving() as served, browsing(browser) as page:
        page.goto(f"{served.url}/dashboard")
        page.get_by_text("claude-openai dashboard").wait_for()
        page.goto("about:blank")
        page.goto(f"{served.url}/dashboard#ticket={first_ticket(CONTROL)}")
        page.locator("#connection.live").wait_for()
        assert page.url == f"{served.url}/dashboard"
    with serving() as served, browsing(browser) as page:
        page.goto(f"{served.url}/dashboard#ticket=guessed")
        page.get_by_text("This address was used already").wait_for()


def test_a_run_appears_within_300_ms_of_its_start(browser: Any, tmp_path: Path) -> None:
    with serving(api_key=KEY) as served, browsing(browser) as page:
        log_in(page, served)
        page.evaluate(
            """() => { window.seen = new Map();
            new MutationObserver(() => { for (const { dataset } of document.querySelectorAll(".run"))
              if (!seen.has(dataset.id)) seen.set(dataset.id, performance.timeOrigin + performance.now()); })
            .observe(document.body, { childList: true, subtree: true }); }"""
        )
        for number in range(5):
            served.ask("hello").result(WAIT_S)
            page.wait_for_function("n => seen.size > n", arg=number)
        answer = json.loads(_control(served, "/control/runs"))
        started = {run["id"]: page.evaluate("Date.parse", run["started_at"]) for run in answer["data"]}
        delays = [at - started[run_id] for run_id, at in page.evaluate("[...seen]")]
        keep(tmp_path, "delays.txt", f"{sorted(map(round, delays))} ms\n")
        assert min(delays) < 300


def _control(served: Served, path: str) -> str:
    request = urllib.request.Request(served.url + path, headers={"authorization": f"Bearer {CONTROL}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310
        return str(answer.read().decode())


@pytest.mark.parametrize("by_keyboard", [False, True])
def test_the_text_of_a_run_grows_and_cancel_ends_it(browser: Any, by_keyboard: bool) -> None:
    with serving(api_key=KEY) as served, browsing(browser) as page:
        log_in(page, served)
        answer = served.ask("grow")
        row = page.locator("#current .run")
        row.get_by_text("Hel", exact=True).wait_for()
        row.get_by_text("Hello", exact=True).wait_for()
        assert "OpenAI/Python" in row.inner_text()
        assert "grow" not in page.content()
        if by_keyboard:
            for _ in range(20):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.className") == "cancel":
                    break
            page.keyboard.press("Enter")
        else:
            row.get_by_role("button", name="Cancel").click()
        page.locator("#ended .run.cancelled").wait_for()
        status, body = answer.result(WAIT_S)
        assert (status, json.loads(body)["error"]["code"]) == (410, "run_cancelled")
        assert served.backend.active == 0


def test_a_conversation_can_be_closed_and_texts_are_never_markup(browser: Any) -> None:
    with serving(api_key=KEY) as served, browsing(browser) as page:
        log_in(page, served)
        page.get_by_role("button", name="Close the idle conversation of claude-sonnet-5").click()
        page.wait_for_function("() => document.querySelectorAll('#conversations li').length === 1")
        served.ask("html").result(WAIT_S)
        text = page.locator(".run .text").first
        text.wait_for()
        assert text.text_content() == "<img src=x onerror=alert(1)> <b>bold</b>"
        assert page.locator("img, .run b:not(.model)").count() == 0


def test_a_lost_server_is_shown_and_the_next_one_asks_for_the_key_again(browser: Any) -> None:
    with browsing(browser) as page:
        with serving(api_key=KEY) as served:
            log_in(page, served)
        page.locator("#connection.lost").wait_for()
        with serving(urlsplit(served.url).port or 0, api_key=KEY):
            page.get_by_label("Key of this server").fill(KEY)
            page.get_by_role("button", name="Show").click()
            page.locator("#connection.live").wait_for()


class Evil(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>evil</title><p>evil</p>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        pass


@contextmanager
def another_server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Evil) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


TRY = """async ([url, run]) => {
  const found = {};
  const attempt = async (name, work) => {
    try { found[name] = await work(); } catch (error) { found[name] = `failed: ${error.name}`; }
  };
  const read = async (options) => {
    const answer = await fetch(`${url}/control/runs`, { credentials: "include", ...options });
    return `${answer.status} ${answer.type} ${(await answer.text()).includes("run_")}`;
  };
  await attempt("read", () => read({}));
  await attempt("opaque", () => read({ mode: "no-cors" }));
  await attempt("token", () => read({ headers: { "x-claude-openai-page": "guess" } }));
  for (const [name, type] of [["json", "application/json"], ["text", "text/plain"]])
    await attempt(name, async () => (await fetch(`${url}/control/runs/${run}/cancel`, {
      method: "POST", mode: type === "text/plain" ? "no-cors" : "cors", credentials: "include",
      headers: { "content-type": type }, body: "{}" })).type);
  await attempt("login", async () => (await fetch(`${url}/dashboard/login`, {
    method: "POST", mode: "no-cors", credentials: "include", body: "{}" })).type);
  const frame = document.createElement("iframe");
  frame.src = `${url}/dashboard`;
  document.body.append(frame);
  await new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 3000); });
  await attempt("frame", () => frame.contentWindow.document.body.innerHTML);
  return found;
}"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_foreign_page_can_neither_read_nor_cancel(browser: Any, host: str) -> None:
    with serving(api_key=KEY) as served, another_server() as port:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        log_in(page, served)
        answer = served.ask("hang")
        row = page.locator("#current .run.running")
        row.get_by_text("The tests fail").wait_for()
        run_id = row.get_attribute("data-id")
        evil = context.new_page()
        evil.goto(f"http://{host}:{port}/control/")
        found: Mapping[str, str] = evil.evaluate(TRY, [served.url, run_id])
        assert all(value.startswith("failed") or value == "opaque" for name, value in found.items() if name != "opaque")
        assert found["opaque"] == "0 opaque false"
        (run,) = json.loads(_control(served, "/control/runs"))["data"]
        assert run["status"] == "running"
        row.get_by_role("button", name="Cancel").click()
        assert answer.result(WAIT_S)[0] == 410
        context.close()


def synthetic(count: int) -> list[dict[str, Any]]:
    states = ["completed"] * 17 + ["failed", "cancelled", "completed"]
    runs = []
    for number in range(count):
        state = states[number % len(states)]
        error = {"message": "Claude Code died. Run `claude-openai doctor`."} if state == "failed" else None
        runs.append(
            {
                "id": f"run_{count - number:024x}",
                "status": state,
                "backend": "sdk",
                "model": "claude-sonnet",
                "conversation": "continued",
                "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 20 * number)),
                "ended_at": None,
                "waited_ms": 0,
                "duration_ms": 3200,
                "usage": {"prompt_tokens": 120_000, "completion_tokens": 402},
                "cost_usd": 0.0421,
                "estimated_usd": 0,
                "error": error,
                "client": "opencode",
                "ttft_ms": 910.4,
                "text": ANSWER * 4,
                "hint": "",
            }
        )
    return runs


SCROLL = """async () => {
  const list = document.getElementById("ended"), gaps = [];
  let last = performance.now();
  list.scrollTop = 0;
  for (let frame = 0; frame < 60; frame += 1) {
    list.scrollTop += 100;
    await new Promise(requestAnimationFrame);
    gaps.push(performance.now() - last);
    last = performance.now();
  }
  return [gaps, list.scrollTop];
}"""


def test_a_thousand_runs_scroll_as_a_hundred_do(browser: Any, tmp_path: Path) -> None:
    counts = {"running": 0, "queued": 0, "parked": 0}
    frames: dict[int, list[float]] = {100: [], 1000: []}
    with serving(api_key=KEY) as served, browsing(browser) as page:
        log_in(page, served)
        for count in (100, 1000, 100, 1000):
            snapshot = {"server": {"version": "1", "backend": "sdk", "pid": 1}, "state": {"counts": counts}}
            body = f"event: snapshot\ndata: {json.dumps(snapshot | {'runs': synthetic(count)})}\n\n"
            page.goto("about:blank")  # the last page would connect again, and take the body
            page.unroute("**/control/watch")
            page.route("**/control/watch", partial(_answer_next, iter([body])))
            page.goto(f"{served.url}/dashboard")
            page.wait_for_function("n => document.querySelectorAll('#ended .run').length === n", arg=count)
            gaps, bottom = page.evaluate(SCROLL)
            assert bottom == 6000
            frames[count] += gaps
        keep(tmp_path, "thousand-runs.png", page.screenshot())
    hundred, thousand = (statistics.median(gaps) for gaps in frames.values())
    keep(tmp_path, "frames.txt", f"a frame of 100 runs {hundred:.1f} ms, of 1000 {thousand:.1f} ms\n")
    assert thousand < 4 * hundred


def _answer_next(bodies: Iterator[str], route: Any) -> None:
    """Answer with the next body; let the page try in vain to connect again when there is none."""
    body = next(bodies, None)
    if body is None:
        route.abort()
    else:
        route.fulfill(status=200, content_type="text/event-stream", body=body)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 860), (390, 844)], ids=["desktop", "phone"])
def test_it_is_shown_in_light_and_dark_on_a_desk_and_a_phone(
    browser: Any, tmp_path: Path, scheme: str, size: tuple[int, int]
) -> None:
    viewport = {"width": size[0], "height": size[1]}
    with (
        serving(api_key=KEY, max_queue_size=10) as served,
        browsing(browser, color_scheme=scheme, viewport=viewport) as page,
    ):
        log_in(page, served)
        for prompt in ("hello", "fail", "hello", "fail", "hello"):
            served.ask(prompt).result(WAIT_S)
        answers = [served.ask("hang") for _ in range(5)]
        page.wait_for_function("() => document.querySelectorAll('#current .running').length === 3")
        page.wait_for_function("() => document.querySelectorAll('#current .queued').length === 2")
        page.locator("#limits li").first.wait_for()
        keep(tmp_path, f"page-{scheme}-{size[0]}.png", page.screenshot())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        served.pool.submit(_cancel_all, served).result(WAIT_S)
        assert {answer.result(WAIT_S)[0] for answer in answers} == {410}


def _cancel_all(served: Served) -> None:
    while True:
        runs = json.loads(_control(served, "/control/runs"))["data"]
        left = [run["id"] for run in runs if run["status"] in ("running", "queued")]
        if not left:
            return
        for run_id in left:
            headers = {"authorization": f"Bearer {CONTROL}", "content-type": "application/json"}
            request = urllib.request.Request(f"{served.url}/control/runs/{run_id}/cancel", b"{}", headers)  # noqa: S310
            try:
                urllib.request.urlopen(request, timeout=WAIT_S).close()  # noqa: S310
            except HTTPError as error:
                error.close()
