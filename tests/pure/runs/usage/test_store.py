"""The file of the usage table: private, added to by several writers at once, and never in the way when it is broken."""

import os
import sqlite3
import subprocess
import sys
import textwrap
from datetime import date, timedelta
from pathlib import Path

import pytest

from claude_openai.runs.usage import store as store_module
from claude_openai.runs.usage.book import Account, StoreError
from claude_openai.runs.usage.rows import Amounts, RowKey
from claude_openai.runs.usage.store import UsageStore

KEY = RowKey("2026-11-27", "opus", "default")
ONE = Amounts(1, 2, 3, 4, 5, 0.5, -0.25, 0.125)


@pytest.fixture
def store(tmp_path: Path) -> UsageStore:
    return UsageStore(tmp_path / "new" / "usage.db")


def test_file_is_private_under_any_umask(store: UsageStore) -> None:
    before = os.umask(0)
    try:
        store.add({KEY: ONE}, None)
    finally:
        os.umask(before)
    assert [path.name for path in store.path.parent.iterdir()] == ["usage.db"]
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert store.path.parent.stat().st_mode & 0o777 == 0o700


def test_file_that_others_could_read_is_made_private(store: UsageStore) -> None:
    store.add({KEY: ONE}, None)
    store.path.chmod(0o644)
    store.add({KEY: ONE}, None)
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_rows_are_added_up_and_read_from_a_day_on(store: UsageStore) -> None:
    earlier = KEY._replace(day="2026-11-20")
    store.add({KEY: ONE, earlier: ONE}, None)
    UsageStore(store.path).add({KEY: ONE, KEY._replace(key="none"): ONE}, None)
    assert store.read("2026-11-27")[0] == {KEY: ONE + ONE, KEY._replace(key="none"): ONE}
    assert earlier in store.read("")[0]


def test_reading_without_a_file_creates_none(store: UsageStore) -> None:
    assert store.read("") == ({}, None)
    store.prune("2026-01-01")
    assert not store.path.parent.exists()


def test_the_limits_seen_last_are_kept(store: UsageStore) -> None:
    store.add({}, Account(5.0, {"a": 1}))
    store.add({}, Account(4.0, {"a": 2}))
    assert store.read("")[1] == Account(5.0, {"a": 1})
    store.add({}, Account(6.0, {"a": 3}))
    assert store.read("")[1] == Account(6.0, {"a": 3})


def test_old_rows_are_pruned(store: UsageStore) -> None:
    store.add({KEY: ONE, KEY._replace(day="2025-11-25"): ONE}, None)
    store.prune("2025-11-26")
    assert set(store.read("")[0]) == {KEY}


def test_a_year_of_rows_takes_little_room(store: UsageStore) -> None:
    days = [(date(2026, 1, 1) + timedelta(days=number)).isoformat() for number in range(367)]
    models = [f"claude-model-number-{number}" for number in range(10)]
    store.add({RowKey(day, model, "default"): ONE for day in days for model in models}, None)
    assert store.path.stat().st_size < 500_000
    assert len(store.read("2026-12-26")[0]) == 80


@pytest.mark.parametrize(
    "content", [b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000], ids=["other", "damaged"]
)
def test_file_that_is_no_database_is_an_error_that_names_it(store: UsageStore, content: bytes) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    for access in (lambda: store.read(""), lambda: store.add({KEY: ONE}, None), lambda: store.prune("")):
        with pytest.raises(StoreError, match=str(store.path)):
            access()
    assert store.path.read_bytes() == content


def test_link_or_folder_in_place_of_the_file_is_an_error(store: UsageStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("")
    store.path.parent.mkdir()
    store.path.symlink_to(target)
    with pytest.raises(StoreError, match="not a plain file"):
        store.add({KEY: ONE}, None)
    assert target.read_text() == ""
    with pytest.raises(StoreError, match="not a plain file"):
        UsageStore(tmp_path).read("")


def test_file_of_a_newer_version_is_left_alone(store: UsageStore) -> None:
    store.add({KEY: ONE}, None)
    with sqlite3.connect(store.path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="newer"):
        store.add({KEY: ONE}, None)


def test_file_that_another_writer_holds_is_an_error_after_a_bounded_wait(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add({KEY: ONE}, None)
    monkeypatch.setattr(store_module, "BUSY_S", 0.01)
    database = sqlite3.connect(store.path, isolation_level=None)
    try:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            store.add({KEY: ONE}, None)
    finally:
        database.close()
    assert store.read("")[0] == {KEY: ONE}


WRITER = """
    import sys
    from pathlib import Path
    from claude_openai.runs.usage.book import StoreError
    from claude_openai.runs.usage.rows import Amounts, RowKey
    from claude_openai.runs.usage.store import UsageStore

    store = UsageStore(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    written = 0
    while written < 40:
        try:
            store.add({RowKey("2026-11-27", f"m{written % 3}", "default"): Amounts(input=1, cost_usd=0.25)}, None)
            written += 1
        except StoreError as error:  # the other one held the file for too long
            if "locked" not in str(error):
                raise
"""


def test_two_processes_that_write_at_once_lose_nothing(store: UsageStore) -> None:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(store.path)]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        assert [writer.wait(120) for writer in writers] == [0, 0]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    rows = store.read("")[0]
    assert sum(row.input for row in rows.values()) == 80
    assert sum(row.cost_usd for row in rows.values()) == 20.0
