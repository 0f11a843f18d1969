# ruff: noqa: ASYNC240
"""The state file: private, bounded, shared; deleted values are overwritten; a broken file fails each access."""

import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from claude_openai.private_database import PrivateDatabase
from claude_openai.state.file import BUSY_S, MAX_THREADS, FileState
from claude_openai.state.store import StateError

HOUR_S = 3600.0
SECRET = b"The prompt is a secret. " * 20


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "responses.db"


async def test_values_are_found_by_another_server_until_they_are_deleted(path: Path) -> None:
    one, other = FileState(path), FileState(path)
    await one.put({"a": b"1", "b": b""}, HOUR_S)
    await other.put({"b": b"2"}, HOUR_S)
    assert await one.get(["b", "none", "a"], HOUR_S) == [b"2", None, b"1"]
    assert await other.delete(["a", "none"]) == 1
    assert await one.get(["a", "b"], HOUR_S) == [None, b"2"]
    assert [await one.clear(), await one.clear(), await other.delete(["b"])] == [1, 0, 0]


async def test_file_is_private_and_has_no_other_files_beside_it(path: Path) -> None:
    before = os.umask(0)
    try:
        await FileState(path).put({"a": b"1"}, HOUR_S)
    finally:
        os.umask(before)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_reading_and_deleting_without_a_file_create_none(path: Path) -> None:
    state = FileState(path)
    assert await state.get(["a"], HOUR_S) == [None]
    assert [await state.delete(["a"]), await state.clear()] == [0, 0]
    await state.prune()
    assert not path.parent.exists()


async def test_a_value_is_kept_until_its_time_after_its_last_use(path: Path) -> None:
    clock = Clock()
    state = FileState(path, now=clock)
    await state.put({"used": b"1", "unused": b"2"}, HOUR_S)
    clock.now += HOUR_S - 1
    assert await state.get(["used"], HOUR_S) == [b"1"]
    clock.now += HOUR_S / 2
    assert await state.get(["used", "unused"], HOUR_S) == [b"1", None]
    clock.now += HOUR_S
    assert await state.clear() == 0


async def test_the_least_recently_used_are_dropped_beyond_the_bound(path: Path) -> None:
    clock = Clock()
    state = FileState(path, max_bytes=200_000, now=clock)
    for number in range(40):
        clock.now += 100
        await state.put({str(number): bytes([number]) * 10_000}, HOUR_S * 24)
        assert await state.get(["0"], HOUR_S * 24) == [bytes(10_000)]
        assert path.stat().st_size <= 200_000
    kept = [number for number in range(40) if (await state.get([str(number)], HOUR_S))[0] is not None]
    assert kept == [0, *range(40 - len(kept) + 1, 40)]
    assert len(kept) > 10


async def test_a_value_beyond_the_bound_drops_no_other(path: Path) -> None:
    state = FileState(path, max_bytes=100_000)
    await state.put({"a": b"1"}, HOUR_S)
    await state.put({"b": bytes(100_000)}, HOUR_S)
    assert await state.get(["a", "b"], HOUR_S) == [b"1", None]


async def _deleted(state: FileState, _clock: Clock) -> None:
    await state.delete(["secret"])


async def _cleared(state: FileState, _clock: Clock) -> None:
    await state.clear()


async def _replaced(state: FileState, _clock: Clock) -> None:
    await state.put({"secret": b"else"}, HOUR_S)


async def _expired(state: FileState, clock: Clock) -> None:
    clock.now += 2 * HOUR_S
    await state.prune()


@pytest.mark.parametrize("forget", [_deleted, _cleared, _replaced, _expired])
@pytest.mark.parametrize("size", [1, 200], ids=["small", "large"])
async def test_a_deleted_prompt_is_not_in_the_file_any_more(
    path: Path, forget: Callable[[FileState, Clock], Awaitable[None]], size: int
) -> None:
    clock = Clock()
    state = FileState(path, now=clock)
    await state.put({"other": bytes(5000), "secret": SECRET * size, "third": bytes(5000)}, HOUR_S)
    assert SECRET in path.read_bytes()
    await forget(state, clock)
    assert SECRET[:24] not in path.read_bytes()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def _made_damaged(path: Path) -> None:
    path.write_bytes(b"This is no database. " * 1000)


def _made_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")


def _made_a_link(path: Path) -> None:
    path.rename(path.with_name("target"))
    path.symlink_to(path.with_name("target"))


def _made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("breaking", "reason"),
    [
        (_made_damaged, "file is not a database"),
        (_made_newer, "it was written by a newer claude-openai (version 99)"),
        (_made_a_link, "not a plain file of this user"),
        (_made_a_folder, "not a plain file of this user"),
    ],
)
async def test_a_broken_file_is_an_error_of_each_access(
    path: Path, breaking: Callable[[Path], None], reason: str
) -> None:
    state = FileState(path)
    await state.put({"a": b"1"}, HOUR_S)
    breaking(path)
    for access in (
        lambda: state.put({"a": b"2"}, HOUR_S),
        lambda: state.get(["a"], HOUR_S),
        lambda: state.delete(["a"]),
        state.clear,
    ):
        with pytest.raises(StateError) as raised:
            await access()
        assert (raised.value.reason, str(raised.value)) == (reason, f"{path}: {reason}")


async def test_file_that_was_deleted_is_created_again(path: Path) -> None:
    state = FileState(path)
    await state.put({"a": b"1"}, HOUR_S)
    path.unlink()
    assert await state.get(["a"], HOUR_S) == [None]
    await state.put({"b": b"2"}, HOUR_S)
    assert await state.get(["a", "b"], HOUR_S) == [None, b"2"]


async def test_a_file_that_is_deleted_during_an_access_is_not_made_by_sqlite(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = FileState(path)
    await state.put({"a": b"1"}, HOUR_S)
    path.unlink()
    monkeypatch.setattr(PrivateDatabase, "is_there", lambda _: True)
    with pytest.raises(StateError, match="unable to open database file"):
        await state.get(["a"], HOUR_S)
    assert not path.exists()


async def test_name_of_the_file_may_have_any_characters(tmp_path: Path) -> None:
    path = tmp_path / "50%41 #1?mode=ro&é.db"
    await FileState(path).put({"a": b"1"}, HOUR_S)
    assert await FileState(path).get(["a"], HOUR_S) == [b"1"]
    assert list(tmp_path.iterdir()) == [path]


async def test_values_that_cannot_be_renewed_are_read(path: Path) -> None:
    clock = Clock()
    state = FileState(path, now=clock)
    await state.put({"a": b"1"}, HOUR_S)
    clock.now += HOUR_S / 2
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert await state.get(["a"], HOUR_S) == [b"1"]
        writer.execute("ROLLBACK")


async def test_a_write_that_was_given_up_while_it_waited_for_another_writer_writes_nothing(path: Path) -> None:
    state = FileState(path)
    await state.put({"a": b"1"}, HOUR_S)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with trio.move_on_after(0.1):
            await state.put({"a": b"2", "b": b"2"}, HOUR_S)
        assert (given_up := state._limiter.borrowed_tokens) <= 1
        writer.execute("ROLLBACK")
    with trio.fail_after(2 * BUSY_S):
        while state._limiter.borrowed_tokens:
            await trio.lowlevel.checkpoint()
    assert given_up == 1
    assert await state.get(["a", "b"], HOUR_S) == [b"1", None]


async def test_a_disk_that_hangs_holds_few_threads_and_cancels_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = trio.Event()
    entered: list[None] = []
    token = trio.lowlevel.current_trio_token()
    state = FileState(path)

    def hang(*_: object) -> list[bytes | None]:
        entered.append(None)
        trio.from_thread.run(ended.wait, trio_token=token)
        return []

    monkeypatch.setattr(state, "_get", hang)
    async with trio.open_nursery() as nursery:
        for _ in range(3 * MAX_THREADS):
            nursery.start_soon(state.get, ["a"], HOUR_S)
        while len(entered) < MAX_THREADS:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert len(entered) == MAX_THREADS
    ended.set()
