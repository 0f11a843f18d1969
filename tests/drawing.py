"""The drawing of the rooms in .github/ARCHITECTURE.md, made from the imports: `python -m tests.drawing` writes it.

An arrow goes from a room to a room that it imports. Arrows that follow from others are left out.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import grimp

ROOT: Final = "claude_openai"
ARCHITECTURE: Final = Path(__file__).parents[1] / ".github" / "ARCHITECTURE.md"
BLOCK: Final = re.compile(r"(?<=<!-- drawing -->\n).*?(?=<!-- /drawing -->)", re.DOTALL)
SPLIT: Final = {"protocol", "claude"}
# The bottom of the program: nearly everything imports these.
BOTTOM: Final = {
    "bounded_run",
    "errors",
    "extras",
    "shortages",
    "threads",
    "offload",
    "trio_only",
    "_version",
    "logs",
    "config",
}
LEFT_OUT: Final = BOTTOM | {"__main__", "preload"}


def room_of(module: str) -> str:
    """Where a module belongs in the drawing: its package, or the part of `protocol` or `claude`."""
    _, *parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] in SPLIT else 1])


def arrows() -> dict[str, set[str]]:
    """Room -> the rooms that its modules import."""
    graph = grimp.build_graph(ROOT, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules - {ROOT, *(f"{ROOT}.{name}" for name in SPLIT)}:
        room = room_of(module)
        imported = {room_of(other) for other in graph.find_modules_directly_imported_by(module) if other != ROOT}
        found.setdefault(room, set()).update(imported - {room})
    return {room: targets - LEFT_OUT for room, targets in found.items() if room not in LEFT_OUT}


def reduced(found: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Without the arrows that a longer way replaces; there are no circles."""

    def below(name: str) -> set[str]:
        return found[name].union(*map(below, found[name]))

    return {name: targets.difference(*map(below, targets)) for name, targets in found.items()}


def drawing() -> str:
    """The drawing as a Mermaid diagram."""
    lines = [
        f"    {name} --> {target}" for name, targets in sorted(reduced(arrows()).items()) for target in sorted(targets)
    ]
    return "\n".join(["```mermaid", "graph TD", *lines, "```", ""])


def with_drawing(text: str) -> str:
    """The text of ARCHITECTURE.md with the drawing of today.

    Raises:
        ValueError: it has no place for it.
    """
    if not BLOCK.search(text):
        raise ValueError(f"{ARCHITECTURE.name} has no place for the drawing")
    return BLOCK.sub(lambda _: drawing(), text)


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_drawing(ARCHITECTURE.read_text("utf-8")), "utf-8")
