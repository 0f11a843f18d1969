"""The errors of the last hour, for those who watch."""

from claude_openai.errors import BadRequest, Overloaded
from claude_openai.runs.recent_errors import MAX_ERRORS, MESSAGE_CHARS, SHOWN_S, RecentErrors


def recent() -> tuple[RecentErrors, list[None]]:
    changes: list[None] = []
    return RecentErrors(lambda: changes.append(None)), changes


def test_equal_errors_in_a_row_are_counted_with_the_last_run() -> None:
    errors, changes = recent()
    for at, run in ((1.0, "a"), (2.0, "b")):
        errors.note(Overloaded("Busy", hint="Wait."), at, run)
    errors.note(Overloaded("Busier"), 3.0)
    assert [
        (error["at"], error["run"], error["message"], error["hint"], error["count"]) for error in errors.to_json(4)
    ] == [
        (3.0, "", "Busier", "", 1),
        (2.0, "b", "Busy", "Wait.", 2),
    ]
    assert {error["code"] for error in errors.to_json(4)} == {"server_is_overloaded"}
    assert len(changes) == 3


def test_message_about_a_field_is_its_name_and_a_long_one_is_cut() -> None:
    errors, _ = recent()
    errors.note(BadRequest("'my secret' is wrong", param="user"), 1.0)
    errors.note(BadRequest("x" * (MESSAGE_CHARS + 1)), 1.0)
    assert [error["message"] for error in errors.to_json(1)] == ["x" * MESSAGE_CHARS, "The field user is invalid"]


def test_old_errors_are_not_shown_and_their_number_is_bounded() -> None:
    errors, _ = recent()
    for number in range(MAX_ERRORS + 1):
        errors.note(Overloaded(str(number)), number)
    assert len(errors.to_json(0)) == MAX_ERRORS
    assert [error["at"] for error in errors.to_json(SHOWN_S + MAX_ERRORS - 1)] == [MAX_ERRORS]
