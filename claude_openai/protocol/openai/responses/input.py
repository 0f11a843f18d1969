"""Converts the `input` of a Responses request to the system prompt, the history, and the prompt.

Reasoning items are dropped: Claude's API accepts thinking only with its signature, and this server keeps it itself.
`content` reads the content of items, `turns` groups them, and `transcript` checks the end of the conversation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.openai.content import (
    assistant_blocks,
    call_arguments,
    result_block,
    system_texts,
    user_blocks,
)
from claude_openai.protocol.openai.responses.item_store import MAX_STORED_CHARS, item_chars
from claude_openai.protocol.openai.responses.tools import joined_name
from claude_openai.protocol.turn.blocks import Block, Role, TextBlock, ToolUseBlock
from claude_openai.protocol.turn.history import Transcript
from claude_openai.protocol.wire.bad_request import missing, unsupported_value, wrong_type, wrong_value
from claude_openai.protocol.wire.transcript import transcript_of
from claude_openai.protocol.wire.turns import RequestItem, alternating

__all__ = ["Placed", "Recall", "added_tools", "is_reference", "placed_items", "read_input"]

# Finds an item of an earlier answer by its id, None if it is not known.
Recall: TypeAlias = Callable[[str], Mapping[str, Any] | None]
# Items with their paths in the request.
Placed: TypeAlias = Sequence[tuple[str, Mapping[str, Any]]]

REASONING_PREFIX: Final = "rs_"

# Items of tools that OpenAI runs, or that only OpenAI can decode. They are in sessions that began with OpenAI's models,
# and users cannot remove them.
LEFT_OUT: Final = frozenset(
    {
        *("reasoning", "additional_tools", "compaction", "context_compaction", "ghost_snapshot"),
        *("web_search_call", "file_search_call", "image_generation_call", "code_interpreter_call"),
        *("computer_call", "computer_call_output"),
        *("mcp_list_tools", "mcp_approval_request", "mcp_approval_response"),
    }
)
# Calls of tools that the client ran -> name of the tool, "" if the item has it, and the field with the arguments.
OTHER_CALLS: Final[Mapping[str, tuple[str, str]]] = {
    "custom_tool_call": ("", "input"),
    "local_shell_call": ("local_shell", "action"),
    "shell_call": ("shell", "action"),
    "apply_patch_call": ("apply_patch", "operation"),
    "tool_search_call": ("tool_search", "arguments"),
}
# Results of these calls -> the field with the result.
OTHER_OUTPUTS: Final[Mapping[str, str]] = {
    "custom_tool_call_output": "output",
    "local_shell_call_output": "output",
    "shell_call_output": "output",
    "apply_patch_call_output": "output",
    "tool_search_output": "tools",
}


def placed_items(value: str | Sequence[Any], recall: Recall) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the items of the `input` of a request with their paths; stored items replace references to them.

    Args:
        value: the value of the field.
        recall: returns stored items to which the input refers by id.

    Raises:
        BadRequest: an item is not an object, or refers to an unknown item; `param` names it, like `input[3]`.
    """
    items = [{"role": "user", "content": value}] if isinstance(value, str) else value
    placed = []
    recalled = 0
    for index, item in enumerate(items):
        path = f"input[{index}]"
        found = _resolved(item, path, recall)
        # A reference of a few bytes can refer to megabytes, and references may be repeated.
        recalled += 0 if found is item else item_chars(found)
        if recalled > MAX_STORED_CHARS:
            raise wrong_value(path, "fewer references to stored items")
        placed.append((path, found))
    return placed


def read_input(placed: Placed, system: Sequence[str], budget: Budget) -> Transcript:
    """Turn the items of a request into a transcript; texts stay verbatim and in order.

    Args:
        placed: the items.
        system: texts of the system prompt before those of the input.
        budget: the budget of the request.

    Raises:
        BadRequest: an item is malformed or unsupported; `param` names it.
    """
    texts = list(system)
    pieces: list[RequestItem] = []
    for path, item in placed:
        if not _is_of_system(item):
            pieces.extend(RequestItem(role, path, "call_id", blocks) for role, blocks in _read(item, path, budget))
        elif pieces:
            blocks = tuple(map(TextBlock, system_texts(item, path)))
            pieces.append(RequestItem("user", path, "call_id", blocks, of_system=True))
        else:
            texts.extend(system_texts(item, path))
    return transcript_of(texts, alternating(pieces), "input")


def added_tools(placed: Placed) -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each tool in `additional_tools` items of the input, which Codex sends."""
    for path, item in placed:
        if item.get("type") == "additional_tools" and isinstance(item.get("tools"), list):
            yield from ((f"{path}.tools[{number}]", tool) for number, tool in enumerate(item["tools"]))


def is_reference(item: Mapping[str, Any]) -> bool:
    """Return whether an item only refers to a stored item."""
    kind = item.get("type") or None
    is_bare = kind is None and item.get("role") is None and item.keys() <= {"id", "type"}
    return kind == "item_reference" or is_bare


def _resolved(item: Any, path: str, recall: Recall) -> Mapping[str, Any]:
    """Return the stored item if this one is a reference, otherwise the item itself."""
    if not isinstance(item, dict):
        raise wrong_type(path, "an object with 'type'", item)
    if _kind(item, path) != "item_reference":
        return item
    name = item.get("id")
    if not isinstance(name, str):
        raise wrong_type(f"{path}.id", "a string", name)
    if name.startswith(REASONING_PREFIX):
        return {"type": "reasoning"}
    found = recall(name)
    if found is None:
        message = f"'{path}' refers to {shorten(name)}, which is not stored (any more)"
        raise BadRequest(message, hint="Send the item (store: false).", code="invalid_value", param=path)
    return found


def _kind(item: Mapping[str, Any], path: str) -> str:
    kind = item.get("type") or None
    if kind is None and item.get("role") is not None:
        return "message"
    if is_reference(item):
        return "item_reference"
    if kind is None:
        raise missing(f"{path}.type", "Send 'message', 'function_call' or 'function_call_output'.")
    if not isinstance(kind, str):
        raise wrong_type(f"{path}.type", "a string", kind)
    return kind


def _is_of_system(item: Mapping[str, Any]) -> bool:
    return (item.get("type") or "message") == "message" and item.get("role") in ("system", "developer")


def _read(item: Mapping[str, Any], path: str, budget: Budget) -> Iterator[tuple[Role, tuple[Block, ...]]]:
    match _kind(item, path):
        case "message":
            yield from _message(item, path)
        case "function_call":
            yield "assistant", (_call(item, path, budget),)
        case "function_call_output":
            yield "user", (result_block(item.get("call_id"), f"{path}.call_id", item.get("output"), f"{path}.output"),)
        case kind if kind in OTHER_CALLS:
            yield "assistant", (_other_call(item, kind, path),)
        case kind if kind in OTHER_OUTPUTS:
            output = item.get(OTHER_OUTPUTS[kind])
            place = f"{path}.{OTHER_OUTPUTS[kind]}"
            yield "user", (result_block(item.get("call_id") or item.get("id"), f"{path}.call_id", output, place),)
        case "mcp_call":
            call_id = item.get("id")
            yield "assistant", (_call({**item, "call_id": call_id}, path, budget),)
            output = item.get("output") if item.get("error") is None else item["error"]
            yield "user", (result_block(call_id, f"{path}.id", output, f"{path}.output"),)
        case kind if kind in LEFT_OUT:
            pass
        case kind:
            message = f"Items of type {shorten(kind)} are not supported. Omit the item."
            raise unsupported_value(f"{path}.type", message)


def _message(item: Mapping[str, Any], path: str) -> Iterator[tuple[Role, tuple[Block, ...]]]:
    match item.get("role"):
        case "user":
            yield "user", user_blocks(item, path)
        case "assistant" if not _is_thought(item.get("content")):
            yield "assistant", assistant_blocks(item, path)
        case "assistant":
            pass
        case None:
            raise missing(f"{path}.role", "Send 'system', 'developer', 'user' or 'assistant'.")
        case str(role):
            raise wrong_value(f"{path}.role", "'system', 'developer', 'user' or 'assistant'", role)
        case role:
            raise wrong_type(f"{path}.role", "a string", role)


def _other_call(item: Mapping[str, Any], kind: str, path: str) -> ToolUseBlock:
    own_name, key = OTHER_CALLS[kind]
    name, call_id, argument = own_name or item.get("name"), item.get("call_id") or item.get("id"), item.get(key)
    for place, value in ((f"{path}.call_id", call_id), (f"{path}.name", name)):
        if not isinstance(value, str) or not value:
            raise wrong_type(place, "a string", value)
    arguments = argument if isinstance(argument, dict) else {key: argument}
    return ToolUseBlock.of(str(call_id), str(name), arguments)


def _is_thought(content: Any) -> bool:
    """Return whether the content is reasoning: pydantic-ai sends it as a message for models that it does not know."""
    whole = isinstance(content, str) and content.startswith("<think>") and content.endswith("</think>")
    return whole and content.count("</think>") == 1


def _call(item: Mapping[str, Any], path: str, budget: Budget) -> ToolUseBlock:
    for key in ("call_id", "name"):
        if not isinstance(item.get(key), str) or not item[key]:
            raise wrong_type(f"{path}.{key}", "a string", item.get(key))
    namespace = item.get("namespace")
    if namespace is not None and not isinstance(namespace, str):
        raise wrong_type(f"{path}.namespace", "a string", namespace)
    name = joined_name(namespace, item["name"]) if namespace else item["name"]
    return ToolUseBlock.of(item["call_id"], name, call_arguments(item.get("arguments"), f"{path}.arguments", budget))
