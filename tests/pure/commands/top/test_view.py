"""The lines of the live view."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, Group
from rich.segment import Segment

from claude_openai.commands.top.feed import Feed
from claude_openai.commands.top.model import KEYS, Model
from claude_openai.commands.top.view import screen
from tests.watched import STARTED_AT, run_view, snapshot

NOW = STARTED_AT + 100.0
REASON = {"reason": "login_missing", "message": "Claude Code is not logged in."}
STATE = {
    "ready": {"ready": False, "reasons": [REASON]},
    "login": "missing",
    "counts": {"running": 1, "queued": 2, "parked": 0},
    "slots": {"running": 1, "queued": 2, "max_concurrency": 4, "max_queue_size": 8},
    "processes": [{"kind": "live", "memory_mb": 200}, {"kind": "spare", "memory_mb": None}, {"kind": "spare"}],
    "memory_mb": 412,
    "usage": {"cost_usd": 1.5, "at_list_price_usd": 1.5},
    "limits": [
        {"window": "five_hour", "utilization": 0.83, "resets_at": NOW + 3600, "status": "allowed", "age_s": 5},
        {"window": "seven_day", "utilization": None, "resets_at": None, "status": "reset", "age_s": 5},
    ],
    "errors": [{"at": NOW, "run": "", "code": "x", "message": "m", "hint": "", "count": 3}],
}
ERROR = {"message": "It broke. Try again.", "code": "upstream_error"}

words = st.text(max_size=60)


def model_of(*runs: dict[str, object], **state: object) -> Model:
    return Model(address="http://127.0.0.1:8000").connected(Feed().merge("snapshot", snapshot(*runs, **state)))


def text_of(model: Model, width: int = 200, height: int = 30) -> str:
    return "\n".join(line.plain.rstrip() for line in screen(model, width, height, NOW))


@given(
    st.lists(st.tuples(st.sampled_from(["running", "queued", "failed"]), words, words), max_size=30),
    st.integers(1, 220),
    st.integers(1, 60),
    st.lists(st.sampled_from(["j", "G", " ", "c", "?"]), max_size=3),
)
def test_lines_fill_the_terminal_and_none_is_wider(
    runs: list[tuple[str, str, str]], width: int, height: int, keys: list[str]
) -> None:
    views = [
        run_view(number, status, text=text, client=client, error={"message": text, "code": client})  # type: ignore[arg-type]
        for number, (status, text, client) in enumerate(runs)
    ]
    model = model_of(*views, **STATE)
    for key in keys:
        model, _ = model.press(key, NOW)
    lines = screen(model, width, height, NOW)
    assert len(lines) == height
    for line in lines:
        assert cell_len(line.plain) <= width
        assert "\x1b" not in line.plain
        assert "\n" not in line.plain


def test_console_draws_each_line_on_a_line_of_its_own() -> None:
    lines = screen(model_of(run_view(1, "running", text="Hello"), **STATE), 60, 20, NOW)
    drawn = Console(width=60, file=io.StringIO()).render_lines(Group(*lines))
    assert [Segment.get_line_length(line) for line in drawn] == [60] * 20
    assert ["".join(segment.text for segment in line).rstrip() for line in drawn] == [
        line.plain.rstrip() for line in lines
    ]


def test_header_has_the_state_of_the_server_and_of_the_account() -> None:
    header = text_of(model_of(**STATE)).partition("RUN")[0]
    for shown in (
        "claude-openai 1.2.3",
        "http://127.0.0.1:8000",
        "not ready: login_missing",
        REASON["message"],
        "login missing",
        "1 running   2 queued   0 parked",
        "1 of 4 slots",
        "processes: 1 live, 2 spare",
        "412 MB",
        "today $1.50 at list price",
        "five_hour 83%, resets ",
        "3 errors in the last hour",
    ):
        assert shown in header
    assert "seven_day" not in header
    assert "ready" in text_of(model_of()).splitlines()[0].split()


def test_overage_and_refusals_are_shown() -> None:
    text = text_of(model_of(overage={"in_use": True}, refusing="the limit is $1", problem="no space"))
    assert "paid beyond the plan" in text
    assert "refusing turns: the limit is $1" in text
    assert "cannot read the figures: no space" in text


def test_wide_terminal_shows_all_columns() -> None:
    run = run_view(1, "failed", conversation="continued", error=ERROR)
    lines = text_of(model_of(run)).splitlines()
    (head,) = (line.split() for line in lines if "STATUS" in line)
    assert head == ["RUN", "STATUS", "MODEL", "CLIENT", "ROUTE", "WAITED", "FIRST", "TIME", "TOKENS", "COST", "ERROR"]
    (row,) = (line for line in lines if line.startswith(">"))
    cells = "> run_00000000 failed claude-sonnet OpenAI continued 0.1 s 0.9 s 2.0 s 8123+402 $0.2500 upstream_error"
    assert " ".join(row.split()) == cells


def test_narrow_terminal_keeps_run_status_model_time_and_tokens() -> None:
    lines = text_of(model_of(run_view(1, "failed", error=ERROR)), 60).splitlines()
    (head,) = (line.split() for line in lines if "STATUS" in line)
    assert head == ["RUN", "STATUS", "MODEL", "TIME", "TOKENS"]


def test_run_that_goes_on_has_its_time_so_far() -> None:
    assert "90.0 s" in text_of(model_of(run_view(10, "running")))
    assert "90.0 s  0.9 s   90.0 s" in text_of(model_of(run_view(10, "queued")))


def test_selected_run_shows_the_end_of_its_text_and_its_error_with_the_hint() -> None:
    text = "first line\n" + "word " * 200 + "\nlast line"
    output = text_of(model_of(run_view(1, "running", text=text)), 80, 24)
    assert run_view(1)["id"] in output
    assert "last line" in output
    assert "first line" not in output
    failed = run_view(1, "failed", error=ERROR, hint="Try again.")
    assert text_of(model_of(failed)).count("Try again.") == 1
    assert "It broke. Try again. Ask." in text_of(model_of({**failed, "hint": "Ask."}))


def test_place_of_the_selected_run_does_not_depend_on_its_text() -> None:
    texts = ("", "one", "one\ntwo\nthree")
    views = [text_of(model_of(run_view(1, "running", text=text))).splitlines() for text in texts]
    assert len({next(at for at, line in enumerate(view) if "──" in line) for view in views}) == 1


def test_words_are_kept_whole_and_wide_characters_take_two_columns() -> None:
    lines = text_of(
        model_of(run_view(1, "running", text="wonderful words 漢字漢字漢字漢字漢字漢字漢字")), 20, 24
    ).splitlines()
    assert "wonderful words" in lines
    assert "漢字漢字漢字漢字漢字" in lines


@pytest.mark.parametrize("index", [0, 14, 29])
def test_table_scrolls_to_the_selected_run(index: int) -> None:
    model = model_of(*(run_view(number, "running", id=f"run_{number:08x}{0:016x}") for number in range(30)))
    for _ in range(index):
        model, _ = model.press("j", NOW)
    assert f"> run_{29 - index:08x}" in text_of(model, height=12)


def test_question_names_the_run_its_model_and_its_time() -> None:
    model, _ = model_of(run_view(10, "running")).press("c", NOW)
    assert text_of(model).splitlines()[-1] == "cancel run_00000000 (claude-sonnet, 90.0 s)? y/n"


def test_last_line_has_a_notice_and_whether_the_display_is_paused() -> None:
    paused, _ = model_of().press(" ", NOW)
    assert text_of(paused).splitlines()[-1].startswith("paused j/k select")
    assert text_of(paused.noticed("run_1 cancelled")).splitlines()[-1] == "paused run_1 cancelled"


def test_lost_connection_is_shown_in_place_of_readiness() -> None:
    first = text_of(model_of().disconnected("the server has stopped", NOW)).splitlines()[0]
    assert "the server has stopped" in first
    assert "ready" not in first


def test_help_lists_the_keys() -> None:
    model, _ = model_of(run_view(1)).press("?", NOW)
    text = text_of(model, 80, 24)
    assert all(what in text for _, what in KEYS)
