"""What keys and the connection do to the live view."""

import pytest

from claude_openai.commands.top.feed import Feed
from claude_openai.commands.top.model import KEYS, CancelRun, Mode, Model, Quit
from tests.watched import STARTED_AT, run_view, snapshot

NOW = STARTED_AT + 100.0


def shown(count: int = 3) -> Model:
    return Model().connected(Feed().merge("snapshot", snapshot(*(run_view(at, "running") for at in range(count)))))


def pressed(model: Model, *keys: str) -> Model:
    for key in keys:
        model, _ = model.press(key, NOW)
    return model


def index_after(*keys: str) -> int:
    return pressed(shown(30), *keys).index


def test_keys_select_a_run_within_the_table() -> None:
    assert index_after() == index_after("k") == index_after("up") == index_after("j", "home") == 0
    assert index_after("j") == index_after("down") == index_after("j", "j", "k") == 1
    assert index_after("page down") == index_after("page down", "page down", "page up") == 10
    assert index_after("G") == index_after("end") == index_after("end", "j") == 29


def test_selection_follows_its_run_and_without_one_it_is_the_first_row() -> None:
    newer = {"runs": [run_view(9, "running")]}
    selected = pressed(shown(), "j")
    later = selected.connected(selected.live.merge("update", newer))
    assert (later.index, later.run) == (2, selected.run)
    first = pressed(selected, "g")
    later = first.connected(first.live.merge("update", newer))
    assert later.run is not None
    assert later.run.record.id == run_view(9)["id"]


@pytest.mark.parametrize("answer", ["y", "Y"])
def test_cancel_asks_once_and_names_the_run_that_was_selected_then(answer: str) -> None:
    asked, action = shown().press("c", NOW)
    assert (asked.mode, action) == (Mode.CONFIRM, None)
    # A newer run must not be cancelled in its place.
    asked = asked.connected(asked.live.merge("update", {"runs": [run_view(9, "running")]}))
    model, action = asked.press(answer, NOW)
    assert action == CancelRun(run_view(2)["id"])
    assert model.mode is Mode.TABLE


@pytest.mark.parametrize("answer", ["n", "c", "q", "\x1b", "j", " "])
def test_any_other_answer_cancels_nothing(answer: str) -> None:
    model, action = pressed(shown(), "c").press(answer, NOW)
    assert (model.mode, action) == (Mode.TABLE, None)
    assert model.held is None


def test_run_that_has_ended_is_not_asked_about() -> None:
    model = Model().connected(Feed().merge("snapshot", snapshot(run_view(1))))
    model, action = model.press("c", NOW)
    assert (model.mode, action) == (Mode.TABLE, None)
    assert "already ended" in model.notice
    assert not pressed(model, "j").notice


def test_keys_without_runs_do_nothing() -> None:
    assert pressed(Model(), "j", "k", "G", "c", "page up", "x") == Model()


def test_pause_holds_runs_and_time_until_it_ends() -> None:
    model = pressed(shown(), " ")
    later = model.connected(model.live.merge("update", {"runs": [run_view(9, "running")]}))
    assert (len(later.shown.runs), later.held_at) == (3, NOW)
    assert pressed(later, "j").index == 1
    on = pressed(later, " ")
    assert (len(on.shown.runs), on.held_at) == (4, None)


def test_times_stand_still_without_a_connection() -> None:
    lost = shown().disconnected("gone", NOW)
    assert (lost.problem, lost.held_at) == ("gone", NOW)
    assert lost.disconnected("still gone", NOW + 5).held_at == NOW
    assert pressed(lost, " ", " ").held_at == NOW
    again = lost.connected(lost.live)
    assert (again.problem, again.held_at) == ("", None)


def test_help_closes_with_any_key_and_q_quits() -> None:
    helped = pressed(shown(), "?")
    assert helped.mode is Mode.HELP
    assert pressed(helped, "j") == shown()
    for model in (shown(), helped):
        assert isinstance(model.press("q", NOW)[1], Quit)


def test_help_names_the_keys() -> None:
    text = " ".join(keys for keys, _ in KEYS)
    assert all(key in text for key in ("j", "k", "arrows", "home", "end", "page up", "c", "space", "?", "q"))
