"""The state of the server, from the events of its stream."""

from typing import Any

from claude_openai.commands.top.connection import EventReader
from claude_openai.commands.top.feed import MAX_RUNS, Feed
from tests.watched import run_view, snapshot


def ids(feed: Feed) -> list[str]:
    return [run.record.id for run in feed.runs]


def test_runs_that_have_not_ended_come_first_and_the_newest_first() -> None:
    runs = [run_view(3, "completed"), run_view(2, "running"), run_view(1, "failed"), run_view(0, "queued")]
    feed = Feed().merge("snapshot", snapshot(*runs))
    assert ids(feed) == [runs[number]["id"] for number in (1, 3, 0, 2)]


def test_update_replaces_the_runs_that_changed_and_adds_new_ones() -> None:
    feed = Feed().merge("snapshot", snapshot(run_view(1, "running", text="Hel"), run_view(2, "running")))
    feed = feed.merge("update", {"runs": [run_view(1, "running", text="Hello"), run_view(3, "queued")]})
    assert ids(feed) == [run_view(number)["id"] for number in (3, 2, 1)]
    assert feed.runs[2].text == "Hello"
    assert feed.server == snapshot()["server"]


def test_update_of_the_state_keeps_the_keys_that_it_does_not_have() -> None:
    feed = Feed().merge("snapshot", {"state": {"counts": {"running": 1}, "login": "found"}, "runs": []})
    feed = feed.merge("update", {"state": {"counts": {"running": 2}}, "runs": []})
    assert feed.state == {"counts": {"running": 2}, "login": "found"}


def test_later_snapshot_replaces_everything() -> None:
    feed = Feed().merge("snapshot", snapshot(run_view(1))).merge("snapshot", {"state": {}, "runs": []})
    assert feed == Feed()


def test_unknown_event_and_invalid_run_change_nothing() -> None:
    feed = Feed().merge("snapshot", snapshot(run_view(1)))
    assert feed.merge("news", snapshot()) == feed
    assert feed.merge("update", {"runs": [{"id": "run_1"}]}) == feed


def test_number_of_runs_is_bounded_and_the_oldest_ended_ones_go() -> None:
    feed = Feed().merge("snapshot", snapshot(run_view(0, "running"), *map(run_view, range(1, MAX_RUNS))))
    feed = feed.merge("update", {"runs": [run_view(MAX_RUNS)]})
    assert len(feed.runs) == MAX_RUNS
    assert feed.run(run_view(0)["id"])
    assert feed.run(run_view(MAX_RUNS)["id"])
    assert feed.run(run_view(1)["id"]) is None


def test_texts_of_a_run_have_no_control_characters() -> None:
    hostile: dict[str, Any] = {"client": "\x1b[2J", "text": "a\x1b]0;x\x07b", "hint": "\x9b1m"}
    (run,) = Feed().merge("snapshot", snapshot(run_view(1, **hostile))).runs
    assert (run.client, run.text, run.hint) == ("[2J", "a]0;xb", "1m")


def test_events_are_read_in_pieces_of_any_size() -> None:
    wire = b'event: snapshot\ndata: {"a": 1}\n\n: keep-alive\n\nevent: update\ndata: {"b": 2}\n\nevent: x\ndata: 7\n\n'
    for size in (1, 2, 7, len(wire)):
        reader = EventReader()
        pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
        events = [event for piece in pieces for event in reader.feed(piece)]
        assert events == [("snapshot", {"a": 1}), ("update", {"b": 2})]
