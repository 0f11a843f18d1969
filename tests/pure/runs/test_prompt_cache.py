"""What Claude's prompt cache had of each prompt, and why something was lost."""

from dataclasses import replace
from typing import Any

import pytest

from claude_openai.protocol.turn.blocks import MediaBlock, Message, TextBlock
from claude_openai.protocol.turn.claude_options import NO_CLAUDE_OPTIONS
from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.turn.request import CacheTtl, TurnRequest
from claude_openai.protocol.turn.tools import Tool, ToolChoice
from claude_openai.runs.prompt_cache import KEPT_CONVERSATIONS, LIFETIMES_S, CacheReport, PromptCache

BLANK = TurnRequest(
    model="claude",
    claude_model="sonnet",
    system="",
    turns=(),
    prompt=Message("user", ()),
    tools=(),
    tool_choice=ToolChoice(),
    parallel_tool_calls=True,
    stream=False,
    include_usage=False,
    reasoning_effort=None,
    options=NO_CLAUDE_OPTIONS,
    user=None,
    metadata={},
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def cache() -> "tuple[Known, Clock]":
    clock = Clock()
    return Known(clock), clock


class Known(PromptCache):
    """Names the runs c1, c2, c3."""

    count = 0

    def take(self, request: TurnRequest, usage: Usage, route: str) -> CacheReport:
        self.count += 1
        return self.note(f"c{self.count}", request, usage, route)


def asked(*texts: str, **fields: Any) -> TurnRequest:
    """A request with these messages, user and assistant alternating."""
    roles = ("user", "assistant")
    messages = [Message(roles[index % 2], (TextBlock(text),)) for index, text in enumerate(texts)]  # type: ignore[arg-type]
    *turns, prompt = messages
    return replace(BLANK, turns=tuple(turns), prompt=prompt, **fields)


def tool(name: str) -> Tool:
    return Tool(name, "", "{}", validator=None)  # type: ignore[arg-type]


FIRST = asked("one", system="be kind", tools=(tool("a"),))
SECOND = replace(asked("one", "1", "two"), system=FIRST.system, tools=FIRST.tools)
WRITTEN = Usage(input_tokens=10, cache_write_tokens=5000)
READ = Usage(input_tokens=10, cache_read_tokens=5000, cache_write_tokens=100)
LOST = Usage(input_tokens=10, cache_read_tokens=0, cache_write_tokens=6000)


def test_share_is_that_of_all_prompts_of_the_conversation() -> None:
    known, _ = cache()
    first = known.take(FIRST, WRITTEN, "new")
    second = known.take(SECOND, READ, "continued")
    assert (first.conversation, first.read_share, first.causes) == ("c1", 0.0, ())
    assert (second.conversation, second.lost_tokens, second.causes) == ("c1", 0, ())
    assert second.read_share == pytest.approx(5000 / 10120)


@pytest.mark.parametrize(
    ("request_", "causes"),
    [
        (replace(SECOND, claude_model="another"), ("model",)),
        (replace(SECOND, options=replace(SECOND.options, fast_mode=True)), ("model",)),
        (replace(SECOND, system="be rude"), ("system",)),
        (replace(SECOND, tools=(tool("b"),)), ("tools",)),
        (replace(SECOND, tools=(tool("a"), tool("b")), system="be rude"), ("tools", "system")),
    ],
    ids=["model", "fast mode", "system", "tools", "tools and system"],
)
def test_changed_part_is_the_cause_of_a_loss(request_: TurnRequest, causes: tuple[str, ...]) -> None:
    known, _ = cache()
    known.take(FIRST, WRITTEN, "new")
    report = known.take(request_, LOST, "replayed")
    assert (report.conversation, report.lost_tokens, report.causes) == ("c1", 5000, causes)


def test_edited_message_is_the_cause_of_a_loss() -> None:
    known, _ = cache()
    known.take(asked("one", "1", "two", "2", "three"), WRITTEN, "new")
    report = known.take(asked("one", "1", "TWO"), LOST, "rewound")
    assert (report.conversation, report.causes) == ("c1", ("history",))


@pytest.mark.parametrize(
    ("ttl", "after_s", "route", "cause"),
    [
        (None, 0, "continued", "unknown"),
        (None, 0, "parked", "unknown"),
        (None, 0, "replayed", "process"),
        (None, LIFETIMES_S["5m"] + 1, "continued", "age"),
        ("1h", LIFETIMES_S["5m"] + 1, "continued", "unknown"),
        ("1h", LIFETIMES_S["1h"] + 1, "continued", "age"),
    ],
)
def test_loss_without_a_change_has_the_age_the_process_or_no_known_cause(
    ttl: CacheTtl | None, after_s: float, route: str, cause: str
) -> None:
    known, clock = cache()
    known.take(replace(FIRST, cache_ttl=ttl), WRITTEN, "new")
    clock.now = after_s
    assert known.take(SECOND, LOST, route).causes == (cause,)


def test_changes_without_a_loss_are_not_reported() -> None:
    known, _ = cache()
    known.take(FIRST, WRITTEN, "new")
    assert known.take(replace(SECOND, system="be rude"), READ, "replayed").causes == ()


def test_short_prompts_that_are_never_cached_lose_nothing() -> None:
    known, _ = cache()
    known.take(FIRST, Usage(input_tokens=10), "new")
    assert known.take(replace(SECOND, system="be rude"), Usage(input_tokens=20), "replayed").causes == ()


def test_title_and_answer_of_the_same_message_are_two_conversations() -> None:
    known, _ = cache()
    title = asked("one", system="write a title", claude_model="haiku")
    assert known.take(title, WRITTEN, "new").conversation == "c1"
    assert known.take(FIRST, WRITTEN, "new").conversation == "c2"
    report = known.take(SECOND, READ, "continued")
    assert (report.conversation, report.causes) == ("c2", ())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (replace(FIRST, user="a"), replace(SECOND, user="b")),
        (replace(FIRST, prompt_cache_key="a"), replace(SECOND, prompt_cache_key="b")),
    ],
    ids=["user", "prompt_cache_key"],
)
def test_other_clients_with_equal_messages_are_other_conversations(first: TurnRequest, second: TurnRequest) -> None:
    known, _ = cache()
    known.take(first, WRITTEN, "new")
    assert known.take(second, LOST, "replayed").conversation == "c2"


def test_other_picture_is_an_edited_message() -> None:
    def shown(data: str) -> TurnRequest:
        picture = Message("user", (MediaBlock("image", "image/png", data * 1000), TextBlock("what?")))
        return replace(
            asked("one", "1", "x", "2", "three"), turns=(*asked("one", "1", "x").turns, picture, FIRST.prompt)
        )

    known, _ = cache()
    known.take(shown("A"), WRITTEN, "new")
    assert known.take(shown("B"), LOST, "replayed").causes == ("history",)


def test_number_of_known_conversations_is_bounded() -> None:
    known, _ = cache()
    for number in range(KEPT_CONVERSATIONS + 1):
        known.take(asked(str(number)), WRITTEN, "new")
    assert known.take(asked("0", "a", "b"), LOST, "replayed").conversation == f"c{KEPT_CONVERSATIONS + 2}"
    assert known.take(asked("2", "a", "b"), READ, "replayed").conversation == "c3"
