"""Parses the `claude` object of a request: options of Claude Code that OpenAI's API lacks.

`web/claude_options_access.py` checks whether a folder or a permission mode is allowed. Unknown keys are rejected: if a
mistyped folder were ignored, tools would run in another folder.
"""

from collections.abc import Mapping
from typing import Any, Final, cast, get_args

from claude_openai.errors import BadRequest
from claude_openai.protocol.turn.claude_options import (
    PERMISSION_MODES,
    ClaudeOptions,
    PermissionMode,
    ReasoningEffort,
    ToolMode,
)
from claude_openai.protocol.wire.bad_request import unsupported_value, wrong_type, wrong_value

__all__ = ["MAX_ADD_DIRS", "read_claude_options"]

# Each folder is looked up in the file system before the request is accepted.
MAX_ADD_DIRS: Final = 64


def read_claude_options(value: Mapping[str, Any], *, has_fast_mode: bool = False) -> ClaudeOptions:
    """Check the `claude` object.

    Args:
        value: the object.
        has_fast_mode: whether the model of the request has fast mode.

    Raises:
        BadRequest: a key is unknown or malformed; `param` names it, like `claude.addDirs[1]`.
    """
    options = {key: each for key, each in value.items() if each is not None}
    for key in options:
        if key not in _KEYS:
            known = ", ".join(_KEYS)
            message = f"Unknown parameter: 'claude.{key[:64]}'. The keys of 'claude' are {known}."
            raise BadRequest(message, code="unknown_parameter", param=f"claude.{key[:64]}")
    for key in ("fastMode", "resetSession"):
        if not isinstance(options.get(key, False), bool):
            raise wrong_type(f"claude.{key}", "true or false", options[key])
    is_fast = options.get("fastMode", False)
    if is_fast and not has_fast_mode:
        message = "The model is not known to have fast mode; GET /v1/models lists the models with 'fast_mode': true."
        raise unsupported_value("claude.fastMode", message)
    folders = options.get("addDirs", [])
    if not isinstance(folders, list):
        raise wrong_type("claude.addDirs", "an array of folders", folders)
    if len(folders) > MAX_ADD_DIRS:
        raise wrong_value("claude.addDirs", f"at most {MAX_ADD_DIRS} folders")
    folder = options.get("workingDirectory")
    return ClaudeOptions(
        working_directory="" if folder is None else _folder(folder, "claude.workingDirectory"),
        add_dirs=tuple(_folder(each, f"claude.addDirs[{index}]") for index, each in enumerate(folders)),
        tool_mode=cast("ToolMode", _choice(options, "toolMode", get_args(ToolMode)) or "disabled"),
        permission_mode=cast("PermissionMode | None", _choice(options, "permissionMode", PERMISSION_MODES)),
        effort=cast("ReasoningEffort | None", _choice(options, "effort", get_args(ReasoningEffort))),
        fast_mode=is_fast,
        reset_session=options.get("resetSession", False),
    )


_KEYS: Final = ("workingDirectory", "addDirs", "toolMode", "permissionMode", "effort", "fastMode", "resetSession")


def _choice(options: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str | None:
    value = options.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong_type(f"claude.{key}", "a string", value)
    if value not in allowed:
        raise wrong_value(f"claude.{key}", "one of " + ", ".join(map(repr, allowed)), value)
    return value


def _folder(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(where, "the full path of a folder, as a string", value)
    if not value.startswith("/") or not value.isprintable():
        raise wrong_value(where, "the full path of a folder, from / on", value)
    return value
