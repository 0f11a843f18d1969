"""OpenCode, unmodified, through a tool loop and a follow-up. Its program is named by OPENCODE, or is on PATH."""

import json
import re
from pathlib import Path
from typing import Any

from claude_openai.testing import RecordedRequest, Reply, ToolUse
from tests.conditions import needs
from tests.docs_tables import DOCS
from tests.real.harness import needs_claude, serving
from tests.real.opencode import opencode, ways

CLIENTS_PAGE = (DOCS / "clients.md").read_text("utf-8")

pytestmark = [needs_claude, needs("opencode")]


def config(url: str) -> dict[str, Any]:
    """The one of the documentation, for this server; what is added keeps it from the network."""
    blocks: list[str] = re.findall(r"```json\n(.*?)```", CLIENTS_PAGE, re.DOTALL)
    text = next(block for block in blocks if "opencode" in block).replace("http://127.0.0.1:8000", url)
    return {**json.loads(text), "autoupdate": False, "share": "disabled", "enabled_providers": ["claude"]}


async def test_it_reads_and_writes_files_with_its_own_tools_and_follows_up_in_the_same_conversation(
    tmp_path: Path,
) -> None:
    project, home = tmp_path / "project", tmp_path / "opencode"
    project.mkdir()
    home.mkdir()
    (project / "in.txt").write_text("the text of the file\n")

    def reply(request: RecordedRequest) -> Reply:
        said = json.dumps([message for message in request.messages if message["role"] != "system"])
        if not request.tools:
            return Reply("A title")
        if "follow up" in said:
            return Reply("Followed.")
        if "toolu_write" in said:
            return Reply("All is done.")
        if "toolu_read" in said:
            out = {"filePath": str(project / "out.txt"), "content": "written by a tool"}
            return Reply("Now I write.", ToolUse("mcp__openai__write", out, "toolu_write"))
        read = {"filePath": str(project / "in.txt")}
        return Reply("I read it.", ToolUse("mcp__openai__read", read, "toolu_read"))

    async with serving(tmp_path, reply, spares=1, max_idle_sessions=4) as served:
        (project / "opencode.json").write_text(json.dumps(config(served.url)))
        first = await opencode(project, home, "copy in.txt to out.txt")
        assert "All is done." in first
        assert (project / "out.txt").read_text() == "written by a tool"
        assert "Followed." in await opencode(project, home, "-c", "follow up")
        results = [message for message in served.api.requests[-1].messages if "tool_result" in json.dumps(message)]
        assert "the text of the file" in json.dumps(results[0])
        found = await ways(served)
        # OpenCode asks for the title at the same time, and it may come later.
        assert (found[0], found.count("new")) == ("new", 2)
        assert [way for way in found if way != "new"] == ["parked", "parked", "continued"]
        assert len(served.api.requests) == 5
