"""Stored responses in a file: continued after a restart, shared by two servers, and forgotten by the command."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from claude_openai.state import access
from claude_openai.state.file import FileState
from claude_openai.testing import Reply
from tests.real.call import MODEL, Call
from tests.real.command import shell
from tests.real.harness import LIMIT_S, OK, needs_claude, serving, until
from tests.real.openai_package import with_the_package
from tests.real.tool_turns import KEPT, upstream

pytestmark = [needs_claude, pytest.mark.long]

PATH = "/v1/responses"
ALICE = "My name is Alice."
WHO = "What is my name?"


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a request would go on without the file."""
    monkeypatch.setattr(FileState, "refresh_s", LIMIT_S)
    monkeypatch.setattr(access, "WRITE_S", LIMIT_S)
    monkeypatch.setattr(access, "READ_S", LIMIT_S)


async def call(url: str, body: dict[str, Any] | None, path: str = PATH, **headers: str) -> tuple[int, dict[str, Any]]:
    async with Call.open(url, body, path, **{"authorization": "Bearer any", **headers}) as request:
        return await request.answer(validated=False)


async def ask(url: str, given: Any, **fields: Any) -> dict[str, Any]:
    status, response = await call(url, {"model": MODEL, "input": given, **fields})
    assert status == 200, response
    return response


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("backend", ["sdk", "cli"])
async def test_restarted_server_continues_a_response_and_finds_its_items(tmp_path: Path, backend: str) -> None:
    file = tmp_path / "kept" / "responses.db"
    settings: dict[str, Any] = {"responses_file": file, "backend": backend}
    async with serving(tmp_path, Reply("Hello, Alice."), **settings) as served:
        first = await ask(served.url, ALICE)
        second = await ask(served.url, "And?", previous_response_id=first["id"])
    assert [(each.name, each.stat().st_mode & 0o777) for each in file.parent.iterdir()] == [(file.name, 0o600)]
    async with serving(tmp_path, OK, **settings) as served:
        third = await ask(served.url, WHO, previous_response_id=second["id"])
        reference = {"type": "item_reference", "id": first["output"][0]["id"]}
        asked = [{"role": "user", "content": ALICE}, reference, {"role": "user", "content": WHO}]
        await ask(served.url, asked)
        answers = [("assistant", ["Hello, Alice."])]
        whole = [("user", [ALICE]), *answers, ("user", ["And?"]), *answers, ("user", [WHO])]
        assert [upstream(request) for request in served.api.requests] == [whole, [*whole[:2], whole[-1]]]
        assert (await call(served.url, None, f"{PATH}/{third['id']}")) == (200, third)
        assert (await call(served.url, None, f"{PATH}/{first['id']}", authorization="Bearer other"))[0] == 404


@pytest.mark.usefixtures("_patient")
async def test_two_servers_share_a_file_and_its_deletions(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    file = tmp_path / "responses.db"
    async with (
        serving(tmp_path / "one", OK, responses_file=file, **KEPT) as one,
        serving(tmp_path / "other", OK, responses_file=file, **KEPT) as other,
    ):
        first = await ask(one.url, ALICE)
        second = await ask(other.url, WHO, previous_response_id=first["id"])
        third = await ask(one.url, "And?", previous_response_id=second["id"])
        texts = [("user", [ALICE]), ("assistant", ["ok"]), ("user", [WHO]), ("assistant", ["ok"]), ("user", ["And?"])]
        assert upstream(one.api.requests[-1]) == texts
        assert ALICE.encode() in file.read_bytes()
        await with_the_package(other, lambda client: client.responses.delete(first["id"]))
        assert ALICE.encode() not in file.read_bytes()
        for server in (one, other):
            status, answer = await call(
                server.url, {"model": MODEL, "input": "And?", "previous_response_id": third["id"]}
            )
            assert (status, answer["error"]["code"]) == (404, "previous_response_not_found")


@pytest.mark.usefixtures("_patient")
async def test_file_of_a_newer_version_is_unchanged_and_memory_is_used(tmp_path: Path) -> None:
    file = tmp_path / "responses.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 99")
    before = file.read_bytes()
    async with serving(tmp_path, OK, responses_file=file) as served:
        first = await ask(served.url, ALICE)
        await ask(served.url, WHO, previous_response_id=first["id"])
        _, ready = await call(served.url, None, "/ready")
        assert [each["reason"] for each in ready["warnings"]] == ["store_not_reached"]
        assert "newer claude-openai (version 99)" in ready["warnings"][0]["message"]
        assert sorted(event["access"] for event in await served.logged("state.failed")) == ["read", "write"]
    assert file.read_bytes() == before


async def test_forget_empties_server_and_file_after_a_sigkill(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        file = user.folder / "responses.db"
        flags = ("--responses-file", str(file))
        server = await user.start(*flags)
        first = await ask(server.base_url, ALICE)
        await until(lambda: file.exists() and ALICE.encode() in file.read_bytes(), "the response is in the file")
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: not user.is_running(), "the server is gone")
        server = await user.start(*flags)
        target = f"{PATH}/{first['id']}"

        async def found() -> int:
            return (await call(server.base_url, None, target))[0]

        while await found() != 200:  # the file was not read in time
            pass
        done = await user("forget")
        assert (done.code, done.stderr) == (0, "")
        assert done.stdout.startswith(f"server (pid {server.pid}): forgot 1 responses, 0 items")
        assert await found() == 404
        assert ALICE.encode() not in file.read_bytes()

        await ask(server.base_url, WHO)
        await until(lambda: WHO.encode() in file.read_bytes(), "the response is in the file")
        assert (await user("stop")).code == 0
        done = await user("forget")
        assert done.stdout.endswith("neither --responses-file nor --state-url is set: nothing was deleted\n")
        done = await user("forget", *flags)
        assert (done.code, done.stdout) == (0, f"{file}: forgot 2 values\n")
        assert WHO.encode() not in file.read_bytes()
        file.write_bytes(b"This is no database. " * 100)
        done = await user("forget", *flags)
        assert done.code != 0
        assert "cannot empty the store" in done.stderr
