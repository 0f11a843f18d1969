"""Scripts of turns with web searches: Claude's calls, and the answers of Claude's API to the searches."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from claude_openai.standin.script import Reply, Step, Text, Usage, Verbatim
from claude_openai.testing import Answer, RecordedRequest, ToolUse

__all__ = ["ANSWER", "SOURCES", "found", "is_search", "search_call", "searching"]

SOURCES: Final = (("Trio", "https://trio.readthedocs.io/"), ("Trio's code", "https://github.com/python-trio/trio"))
ANSWER: Final = "Trio is \U0001f600 a [library](https://trio.readthedocs.io#x), [not this](https://example.org/)."


def is_search(request: RecordedRequest) -> bool:
    """Return whether a request comes from Claude Code's tool WebSearch, and not from a turn."""
    return request.tools == ["web_search"]


def search_call(number: int = 1, query: str = "python trio", **more: Any) -> ToolUse:
    return ToolUse("WebSearch", {"query": query, **more}, f"toolu_search_{number}")


def found(*sources: tuple[str, str], error: str = "") -> Reply:
    """Return the answer of Claude's API to a search."""
    content: Any = [
        {"type": "web_search_result", "title": title, "url": url, "encrypted_content": "x", "page_age": None}
        for title, url in sources
    ]
    if error:
        content = {"type": "web_search_tool_result_error", "error_code": error}
    call = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}
    result = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": content}
    return Reply(Verbatim(call), Verbatim(result), Text("A summary."), usage=Usage(web_search_requests=1))


def searching(
    *steps: Step, results: Answer | None = None, answers: Sequence[Answer] = ()
) -> Callable[[RecordedRequest], Answer]:
    """Return a script: Claude does `steps`, the search has `results`, and the further turns have `answers`."""
    left = [Reply(*steps), *answers]

    def reply(request: RecordedRequest) -> Answer:
        return (results or found(*SOURCES)) if is_search(request) else left.pop(0)

    return reply
