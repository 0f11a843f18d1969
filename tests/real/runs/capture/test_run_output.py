"""What is captured of a run, over HTTP and real files: followed to its end, and never in the way of the run."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from claude_openai import Config, serve
from claude_openai.standin.script import Pause
from claude_openai.testing import Hang, ScriptedBackend, full_turn
from tests.real.call import Call, chat
from tests.real.harness import LIMIT_S

KEY = "control-key"


@asynccontextmanager
async def serving(
    folder: Path, backend: ScriptedBackend, *, output_dir: Path | None = None
) -> AsyncIterator[tuple[str, trio.Event]]:
    """A server over a scripted backend, its URL, and what stops it."""
    config = Config(
        port=0,
        control_key=KEY,
        output_dir=output_dir or folder / "runs",
        log_file=folder / "log" / "server.log",
        drain_timeout_ms=100,
    )
    stop = trio.Event()
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(serve, config, backend=backend, stop=stop))
            yield url, stop
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def control(url: str, path: str) -> AsyncIterator[Call]:
    async with Call.open(url, None, path, authorization=f"Bearer {KEY}") as call:
        yield call


async def lines(body: Call) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await body.body()).splitlines()]


async def test_a_run_is_followed_as_it_goes_to_its_end(tmp_path: Path) -> None:
    more = trio.Event()
    backend = ScriptedBackend(full_turn("Hel", Pause(more), "lo"))
    async with serving(tmp_path, backend) as (url, _), Call.open(url, chat("Hi", stream=True)) as call:
        assert await call.status() == 200
        run_id = call.headers["x-claude-openai-run"]
        async with control(url, f"/control/runs/{run_id}/output?follow=1") as following:
            assert await following.status() == 200
            assert following.headers["content-type"] == "application/x-ndjson"
            seen = b""
            while b'"Hel"' not in seen:
                seen += (await following.next_event()).data
            more.set()
            rest = await lines(following)
        assert [record["type"] for record in rest] == ["text", "end"]
        assert rest[-1]["status"] == "completed"
        async with control(url, f"/control/runs/{run_id}/output") as whole:
            await whole.status()
            records = await lines(whole)
        assert [record["type"] for record in records] == ["asked", "running", "answering", "text", "text", "end"]


async def test_a_follower_ends_with_the_server_and_its_leaving_harms_nobody(tmp_path: Path) -> None:
    backend = ScriptedBackend(full_turn("Hel", Hang()))
    async with serving(tmp_path, backend) as (url, stop), Call.open(url, chat("Hi", stream=True)) as call:
        assert await call.status() == 200
        path = f"/control/runs/{call.headers['x-claude-openai-run']}/output?follow=1"
        async with control(url, path) as leaving:
            await leaving.status()
            leaving.leave()
        async with control(url, path) as following:
            await following.status()
            stop.set()
            end = (await lines(following))[-1]
        assert (end["type"], end["status"], end["error"]["code"]) == ("end", "cancelled", "shutting_down")
        assert backend.turns[0].outcome == "cancelled"


async def test_a_folder_that_cannot_be_used_stops_no_run_and_the_log_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with serving(tmp_path, ScriptedBackend(), output_dir=tmp_path / "file") as (url, _):
        for _ in range(3):
            async with Call.open(url, chat("Hi")) as call:
                status, answer = await call.answer()
                assert (status, answer["choices"][0]["message"]["content"]) == (200, "ok")
        run_id = call.headers["x-claude-openai-run"]
        async with control(url, f"/control/runs/{run_id}") as asked:
            assert (await asked.answer())[1]["status"] == "completed"
        async with control(url, f"/control/runs/{run_id}/output?follow=1") as asked:
            status, answer = await asked.answer()
            assert (status, answer["error"]["code"]) == (404, "run_not_captured")
    log = [json.loads(line) for line in (tmp_path / "log" / "server.log").read_text().splitlines()]
    assert [line["level"] for line in log if line["event"] == "runs.not_captured"] == ["warning"]


async def test_runs_of_an_earlier_server_are_still_listed_and_read(tmp_path: Path) -> None:
    async with serving(tmp_path, ScriptedBackend()) as (url, _), Call.open(url, chat("Hi")) as call:
        await call.answer()
    run_id = call.headers["x-claude-openai-run"]
    async with serving(tmp_path, ScriptedBackend()) as (url, _):
        async with Call.open(url, chat("Hi")) as call:
            await call.answer()
        async with control(url, "/control/runs") as asked:
            _, listed = await asked.answer()
        assert [run["id"] for run in listed["data"]] == [call.headers["x-claude-openai-run"], run_id]
        async with control(url, f"/control/runs/{run_id}") as asked:
            assert (await asked.answer())[1] == listed["data"][1]
        async with control(url, f"/control/runs/{run_id}/output?follow=1") as asked:
            await asked.status()
            assert (await lines(asked))[-1]["type"] == "end"
