"""Turns in which Claude uses its own tools."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from claude_openai.testing import (
    RecordedRequest,
    Reply,
    ToolUse,
)
from tests.conditions import needs
from tests.real.call import Call, chat
from tests.real.harness import Served

__all__ = [
    "MODES",
    "NOTEBOOK",
    "OWN",
    "SECRET",
    "Obedient",
    "Place",
    "Use",
    "ask",
    "calls",
    "in_each_mode",
    "is_judge",
    "results",
]


def _results(request: RecordedRequest) -> list[str]:
    blocks = [block for m in request.messages if isinstance(m["content"], list) for block in m["content"]]
    return [str(block["content"]) for block in blocks if block["type"] == "tool_result"]


def is_judge(request: RecordedRequest) -> bool:
    """Whether Claude Code asks, beside the turn, whether a call is safe."""
    return request.body.get("stop_sequences") == ["</block>"]


SECRET: Final = "SECRET-4b1d"
OWN: Final = "OWN-9c2e"
MODES: Final = ("default", "acceptEdits", "plan", "auto", "bypassPermissions")
in_each_mode = pytest.mark.parametrize(
    "mode",
    [pytest.param(mode, marks=needs("not-root") if mode == "bypassPermissions" else ()) for mode in MODES],
)
NOTEBOOK: Final = {
    "cells": [
        {"cell_type": "code", "id": "c1", "metadata": {}, "source": [SECRET], "outputs": [], "execution_count": None}
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}
Use = tuple[str, dict[str, Any]]


class Place:
    """`work` and `more`, which are allowed, `outside`, which is not, and links between them."""

    def __init__(self, top: Path) -> None:
        self.work, self.more, self.outside = (top / name for name in ("work", "more", "outside"))
        for folder in (self.work / "inner", self.more, self.outside):
            folder.mkdir(parents=True)
        for name in ("a.txt", "inner/b.txt"):
            (self.work / name).write_text(f"{OWN} {name}\n")
        (self.more / "m.txt").write_text(f"{OWN} m.txt\n")
        (self.outside / "f.txt").write_text(f"{SECRET}\n")
        (self.outside / "n.ipynb").write_text(json.dumps(NOTEBOOK))
        (self.work / "to-file").symlink_to(self.outside / "f.txt")
        (self.work / "to-folder").symlink_to(self.outside)
        (self.work / "within").symlink_to(self.work / "inner")
        os.mkfifo(self.work / "fifo")

    @property
    def claude(self) -> dict[str, Any]:
        return {"workingDirectory": str(self.work), "addDirs": [str(self.more)]}

    @property
    def settings(self) -> dict[str, Any]:
        return {"allowed_working_directory_prefixes": (self.work, self.more), "allow_bypass_permissions": True}

    def ways_out(self) -> list[Use]:
        """Each of them shows SECRET, or writes `new` somewhere, if nothing holds it back."""
        work, out = str(self.work), str(self.outside)
        files = [f"{out}/f.txt", f"{work}/to-file", f"{work}/to-folder/f.txt", f"{work}/../outside/f.txt"]
        grep = {"pattern": SECRET, "output_mode": "content"}
        return [
            *(("Read", {"file_path": path}) for path in (*files, "to-file", f"/proc/self/root{out}/f.txt")),
            ("Read", {"file_path": f"{out}/n.ipynb"}),
            *(("Grep", {**grep, "path": path}) for path in (out, f"{out}/f.txt", "to-folder", "to-file", "../outside")),
            *(("Glob", {"pattern": "f.*", "path": path}) for path in (out, "to-folder", "../outside")),
            *(("Glob", {"pattern": pattern}) for pattern in (f"{out}/f.*", f"{work}/to-folder/f.*", "to-folder/f.*")),
            *(("Write", {"file_path": f"{path}/new", "content": "x"}) for path in (out, f"{work}/to-folder")),
            ("Write", {"file_path": f"{work}/to-file", "content": "x"}),
            ("Edit", {"file_path": f"{out}/f.txt", "old_string": SECRET, "new_string": "x"}),
            ("Edit", {"file_path": f"{work}/to-file", "old_string": SECRET, "new_string": "x"}),
            ("NotebookEdit", {"notebook_path": f"{out}/n.ipynb", "cell_id": "c1", "new_source": "x"}),
        ]

    def ways_in(self) -> list[Use]:
        """Each of them shows OWN."""
        work = str(self.work)
        paths = (f"{work}/a.txt", "inner/b.txt", f"{work}/within/b.txt", f"{self.more}/m.txt")
        return [
            *(("Read", {"file_path": path}) for path in paths),
            ("Grep", {"pattern": OWN, "output_mode": "content"}),
            ("Grep", {"pattern": OWN, "output_mode": "content", "path": "within"}),
        ]

    def assert_untouched(self) -> None:
        assert sorted(path.name for path in self.outside.iterdir()) == ["f.txt", "n.ipynb"]
        assert (self.outside / "f.txt").read_text() == f"{SECRET}\n"
        assert json.loads((self.outside / "n.ipynb").read_text()) == NOTEBOOK


def results(request: RecordedRequest) -> dict[str, tuple[bool, str]]:
    """Of each call in the conversation: whether it succeeded, and the result that Claude got."""
    blocks = [block for m in request.messages if isinstance(m["content"], list) for block in m["content"]]
    return {
        block["tool_use_id"]: (not block.get("is_error"), str(block["content"]))
        for block in blocks
        if block["type"] == "tool_result"
    }


def calls(prefix: str, uses: Iterable[Use]) -> list[ToolUse]:
    return [ToolUse(name, given, f"{prefix}_{n}") for n, (name, given) in enumerate(uses)]


class Obedient:
    """A Claude that makes these calls in its first message, and in the first of an agent that it starts."""

    def __init__(self, *uses: Use, prefix: str = "toolu") -> None:
        self.uses = uses
        self.prefix = prefix
        self.received: dict[str, tuple[bool, str]] = {}

    def __call__(self, request: RecordedRequest) -> Reply:
        if is_judge(request):
            return Reply("<block>no")
        in_agent = "Look for it." in str(request.messages[0])
        prefix = f"{self.prefix}_agent" if in_agent else self.prefix
        mine = {call_id: received for call_id, received in results(request).items() if call_id.startswith(f"{prefix}_")}
        self.received |= mine
        return Reply("Done.") if mine else Reply("I look.", *calls(prefix, self.uses))

    def assert_held(self, place: Place, outs: int, ins: int, *, prefix: str | None = None) -> None:
        """Check that the first `outs` of its calls fail, and that the next `ins` succeed."""
        prefix = prefix or self.prefix
        received = [self.received[f"{prefix}_{n}"] for n in range(outs + ins)]
        for use, (succeeded, text) in zip(self.uses[:outs], received[:outs], strict=True):
            assert not succeeded, (use, text)
            assert SECRET not in text, (use, text)
        for use, (succeeded, text) in zip(self.uses[outs:], received[outs:], strict=False):
            assert succeeded, (use, text)
            assert OWN in text, (use, text)
        place.assert_untouched()


async def ask(served: Served, claude: dict[str, Any], messages: Any = "Work.", **fields: Any) -> dict[str, Any]:
    async with Call.open(served.url, chat(messages, claude=claude, **fields)) as call:
        status, answer = await call.answer()
        assert status == 200, answer
        return {**answer["choices"][0]["message"], "way": call.headers["x-claude-openai-conversation"]}
