"""What users of other bridges complain of, where it concerns tools and conversations, and is not so here.

Only what no other file shows: of most complaints the opposite is a test elsewhere.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import RecordedRequest, Reply
from tests.real.harness import Served, needs_claude, serving
from tests.real.tool_turns import ASKED, KEPT, ask, results, upstream, use

pytestmark = needs_claude


def follow_up(messages: list[dict[str, Any]], answer: dict[str, Any], text: str) -> list[dict[str, Any]]:
    return [*messages, answer["choices"][0]["message"], {"role": "user", "content": text}]


async def test_many_calls_of_one_tool_each_get_one_result(kept: Served) -> None:
    paths = [f"/{number}" for number in range(12)]
    kept.api.enqueue(Reply(*[use(number, path) for number, path in enumerate(paths)]))
    first, _ = await ask(kept, ASKED)
    functions = [call["function"] for call in first["choices"][0]["message"]["tool_calls"]]
    assert [json.loads(function["arguments"]) for function in functions] == [{"path": path} for path in paths]
    _, way = await ask(kept, [*ASKED, *results(first, *[f"of {path}" for path in paths])])
    assert way == "parked"
    given = [(f"toolu_{number}", f"of {path}") for number, path in enumerate(paths)]
    role, said = upstream(kept.api.requests[1])[-1]
    assert (role, sorted(said)) == ("user", sorted(given))  # in the order in which Claude Code has read them


@pytest.mark.long
async def test_a_long_loop_of_tools_meets_no_limit_and_costs_one_call_of_claude_a_step(kept: Served) -> None:
    rounds = 20
    kept.api.enqueue(*[Reply(use(number)) for number in range(rounds)], Reply("Done."))
    messages: list[dict[str, Any]] = list(ASKED)
    for number in range(rounds):
        answer, way = await ask(kept, messages)
        assert way == ("parked" if number else "new")
        messages += results(answer, f"result {number}")
    answer, way = await ask(kept, messages)
    assert (way, answer["choices"][0]["message"]["content"]) == ("parked", "Done.")
    assert len(kept.api.requests) == rounds + 1
    assert len(upstream(kept.api.requests[-1])) == 1 + 2 * rounds


@pytest.mark.long
async def test_clients_with_equal_prompts_are_distinguished_by_their_answers(kept: Served) -> None:
    kept.api.enqueue(Reply("one"), Reply("two"))
    (one, _), (two, _) = [await ask(kept, ASKED) for _ in range(2)]
    for answer, text in ((one, "one"), (two, "two")):
        _, way = await ask(kept, follow_up(ASKED, answer, "And?"))
        assert way == "continued"
        assert [said for _, said in upstream(kept.api.requests[-1])] == [[ASKED[0]["content"]], [text], ["And?"]]


def without_marks(value: Any) -> Any:
    """Without the marks that say how far the prompt cache is to reach; they move on by design."""
    if isinstance(value, dict):
        return {key: without_marks(part) for key, part in value.items() if key != "cache_control"}
    return [without_marks(part) for part in value] if isinstance(value, list) else value


def cached(request: RecordedRequest) -> str:
    """What the prompt cache goes by before the messages, byte by byte."""
    return json.dumps([without_marks(request.body["tools"]), without_marks(request.body["system"])])


async def test_prompt_cache_is_hit_on_every_route(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    messages: list[dict[str, Any]] = [system, *ASKED]
    async with serving(tmp_path, **KEPT) as before:
        before.api.enqueue(Reply(use(1)))
        answer, way = await ask(before, messages)
        ways = [way]
        messages += results(answer, "A")
        answer, way = await ask(before, messages)
        ways.append(way)
        messages = follow_up(messages, answer, "And?")
        answer, way = await ask(before, messages)
        ways.append(way)
    async with serving(tmp_path, **KEPT) as after:
        _, way = await ask(after, follow_up(messages, answer, "And then?"))
        ways.append(way)
    assert ways == ["new", "parked", "continued", "replayed"]
    requests = [*before.api.requests, *after.api.requests]
    assert len({cached(request) for request in requests}) == 1
    for sooner, later in itertools.pairwise(requests):
        said = without_marks(upstream(sooner))
        assert upstream(later)[: len(said)] == said


LENGTHS = [
    pytest.param(["word " * 60_000], "parked", id="of 300 kB"),
    pytest.param(["word " * 20_000] * 8, "parked", id="of 8 x 100 kB"),
    pytest.param(["word " * 160_000], "replayed", id="of 800 kB"),
]


@pytest.mark.long
@pytest.mark.parametrize(("texts", "way"), LENGTHS)
async def test_long_results_reach_claude_whole_and_not_as_the_name_of_a_file(
    kept: Served, texts: list[str], way: str
) -> None:
    kept.api.enqueue(Reply(*[use(number) for number in range(len(texts))]))
    first, _ = await ask(kept, ASKED)
    given = [("toolu_" + str(number), text) for number, text in enumerate(texts)]
    # A turn that waits takes no result beyond 500,000 characters; in a history they may be longer.
    for expected in (way, "replayed"):
        _, taken = await ask(kept, [*ASKED, *results(first, *texts)])
        assert taken == expected
        said = upstream(kept.api.requests[-1])[-1][1]
        assert [(ident, len(text), text[:100]) for ident, text in sorted(said)] == [
            (ident, len(text), text[:100]) for ident, text in given
        ]
