"""Claims about the conversation that Claude receives, the exceptions, and the tests that show each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["CLAIMS", "EXCEPTIONS", "Shown", "claims_table", "exceptions_table"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A sentence of the documentation, and tests as `real/test_module.py::test_name`."""

    text: str
    tests: tuple[str, ...]


CLAIMS: Final = (
    Shown(
        "Nothing but the client's conversation: the messages, block by block, in order; the system prompt; the tools",
        (
            "real/claude/sdk/test_conversations.py::test_claude_gets_the_request_and_nothing_else",
            "real/claude/test_priming.py::test_a_conversation_reaches_claude_block_by_block_with_nothing_added",
        ),
    ),
    Shown(
        "Verbatim: text that looks like a command, a file or a reminder stays text; long texts are complete",
        ("real/claude/transcript/test_replays.py::test_a_replay_is_the_live_turn_to_the_letter",),
    ),
    Shown(
        "The same over the three APIs: a request reaches Claude with equal bytes over each of them",
        (
            "real/claude/transcript/test_replays.py::test_the_same_turn_over_three_apis_is_the_same_to_the_letter",
            "real/claude/sdk/test_conversations.py::test_claude_gets_the_request_and_nothing_else",
        ),
    ),
    Shown(
        "Hermetic: no settings, memory files, skills, hooks or MCP servers of yours; no conversation stays on disk",
        (
            "real/claude/test_hermetic.py::test_nothing_of_the_users_goes_upstream_or_runs",
            "real/claude/test_hermetic.py::test_conversation_leaves_nothing_on_the_disk",
        ),
    ),
    Shown(
        "No note of a new date after midnight: live conversations and spares end; the next turn is a replay",
        ("real/claude/test_priming.py::test_after_midnight_conversations_and_spares_end_and_notes_are_learnt_anew",),
    ),
    Shown(
        "One upstream call per turn, also if a process dies",
        (
            "real/claude/sdk/test_conversations.py::test_claude_gets_the_request_and_nothing_else",
            "real/claude/sdk/test_paid_once.py::test_claude_is_called_once_by_a_turn_whose_process_is_killed",
        ),
    ),
    Shown(
        "A replayed history has the prompt-cache prefix of its live turns, except for the order of results",
        (
            "real/claude/transcript/test_replays.py::test_a_replay_is_the_live_turn_to_the_letter",
            "real/claude/transcript/test_replays.py::test_a_replay_has_the_thinking_of_all_answers_of_its_live_turns",
        ),
    ),
    Shown(
        "An edited or repeated last message is answered by the live process, with the same exactness",
        (
            "real/claude/sdk/test_rewinding.py::test_last_message_is_answered_again_by_the_same_process",
            "real/claude/sdk/test_rewinding.py::test_it_goes_on_from_there",
        ),
    ),
)

EXCEPTIONS: Final = (
    Shown(
        "On models with levels of effort, a message without text states the effort after the user's first message",
        (
            "real/claude/transcript/test_replays.py::test_the_statement_of_effort_has_no_words_and_follows_the_first_message",
        ),
    ),
    Shown(
        "Within a turn, Claude gets a description of the errors of a call that does not match its schema",
        (
            "real/claude/control/test_tools.py::test_arguments_that_do_not_fit_are_corrected_by_claude_before_the_client_sees_a_call",
        ),
    ),
    Shown(
        "After a stream that broke off, Claude is asked to continue",
        ("real/protocol/claude_code/test_broken_streams.py::test_a_stream_that_breaks_off",),
    ),
    Shown(
        "With `tool_choice: required`, a line of the system prompt requires a call",
        (
            "real/claude/control/test_tools.py::test_a_demanded_tool_is_the_only_one_offered_and_an_answer_in_text_is_asked_again_once",
        ),
    ),
    Shown(
        "With `tool_choice: required`, Claude is called once more if its first answer has no call",
        (
            "real/claude/control/test_tools.py::test_a_demanded_tool_is_the_only_one_offered_and_an_answer_in_text_is_asked_again_once",
        ),
    ),
    Shown(
        "After `finish_reason: length`, Claude Code may begin another call before the server has ended it; the client"
        " gets nothing of it",
        ("real/protocol/openai/test_upstream.py::test_claude_code_does_not_continue_unasked_after",),
    ),
    Shown(
        "A later system message is sent as a `<system-reminder>`, since the input of Claude Code has no form for it",
        (
            "real/protocol/openai/test_field_shapes.py::test_a_reminder_in_the_middle_keeps_the_conversation_live_and_its_system_prompt",
        ),
    ),
    Shown(
        "A conversation that begins with the assistant gets a first message `(The conversation begins.)`",
        ("real/protocol/openai/test_upstream.py::test_a_conversation_may_begin_with_the_assistants_greeting",),
    ),
    Shown(
        "Texts without a visible character are left out; an empty result, and a call without a result, get a line that"
        " says so",
        (
            "pure/claude/transcript/test_session_file.py::test_empty_result_has_claude_codes_own_text",
            "real/protocol/openai/test_field_shapes.py::test_a_shape_of_the_field_reaches_claude_as_it_is_meant",
        ),
    ),
    Shown(
        "Results of one turn come before text, in the order of their calls; results of parallel calls in a live"
        " conversation, in the order in which Claude Code accepts them",
        (
            "pure/claude/transcript/test_session_file.py::test_results_stand_in_the_order_of_their_calls_and_before_words",
        ),
    ),
    Shown(
        "An answer `(no content)`, which Claude Code would drop, is sent as two blocks",
        ("real/claude/transcript/test_replays.py::test_an_answer_that_claude_code_would_drop_is_kept",),
    ),
    Shown(
        "Descriptions of tools lose invisible characters and are normalized to Unicode NFKC",
        ("real/claude/transcript/test_replays.py::test_descriptions_of_tools_are_without_invisible_characters",),
    ),
    Shown(
        "Numbers in the arguments of calls are written as JavaScript writes them",
        ("real/claude/control/test_tools.py::test_a_number_that_the_client_writes_in_another_way_is_the_same_number",),
    ),
    Shown(
        "A picture that is too large is reduced, in the same way in a prompt, a history and a result",
        ("real/protocol/openai/test_field_shapes.py::test_a_picture_is_the_same_in_a_prompt_a_history_and_a_result",),
    ),
    Shown(
        "With Claude's own tools (`claude.toolMode`), the notes are sent, because they are true then",
        ("real/claude/test_agent_mode.py::test_claude_with_own_tools_gets_its_environment",),
    ),
    Shown(
        "With web search Claude is offered Claude Code's tool WebSearch; a line of Claude Code's own ends its results."
        " Each search is one more call to Claude",
        (
            "real/protocol/openai/test_web_search.py"
            "::test_claude_gets_the_request_and_the_tool_web_search_and_nothing_else",
        ),
    ),
    Shown(
        "After structured output, whose call the client does not have, the next request is a replay with the answer as"
        " text, without Claude's thinking of that answer",
        (
            "real/protocol/openai/test_forms_and_limits.py"
            "::test_an_answer_that_had_a_form_is_text_for_claude_when_the_conversation_goes_on",
        ),
    ),
    Shown(
        "A Claude Code that does not answer within 5 s, or an untested version, may send its notes; the log reports it"
        " (`priming.failed`, `priming.incomplete`)",
        (
            "real/claude/test_priming.py::test_notes_that_do_not_help_are_reported",
            "real/claude/test_priming.py::test_a_cli_that_cannot_be_probed_answers_all_the_same",
        ),
    ),
    Shown(
        "A Claude Code older than 2.1.282 sends the date before each new conversation",
        ("pure/claude/process/test_version.py::test_features_that_a_version_lacks_are_named",),
    ),
)


def claims_table() -> Iterator[str]:
    yield from _table("Claim", CLAIMS)


def exceptions_table() -> Iterator[str]:
    yield from _table("Exception", EXCEPTIONS)


def _table(title: str, rows: tuple[Shown, ...]) -> Iterator[str]:
    yield f"| {title} | Shown by |"
    yield "|---|---|"
    for row in rows:
        names = ", ".join(f"`{test.partition('::')[2]}`" for test in row.tests)
        yield f"| {row.text} | {names} |"
