"""Which versions of Claude Code can be used, and what the older of them lack.

Each bound was found by bisecting the versions on npm with `claude-openai doctor --self-test`, which runs every kind of
turn. Knows no processes: `claude --version` is run by those who ask.
"""

import re
from typing import Final, TypeAlias

__all__ = ["LEAST", "LEAST_EXACT", "RENEW", "Version", "parse_version", "shortcoming", "shown"]

Version: TypeAlias = tuple[int, ...]

# The first with --safe-mode. 2.1.168 ends with "error: unknown option '--safe-mode'".
LEAST: Final[Version] = (2, 1, 169)
LEAST_EXACT: Final[Version] = (2, 1, 300)
RENEW: Final = "renew it: npm install -g @anthropic-ai/claude-code, or leave --claude-command out"


def parse_version(output: str) -> Version | None:
    """The version in what `claude --version` prints, like "2.1.332 (Claude Code)"; None if there is none."""
    found = re.match(r"\s*(\d+(?:\.\d+)+)", output)
    return None if found is None else tuple(map(int, found[1].split(".")))


def shown(version: Version) -> str:
    """As Claude Code writes it, like "2.1.332"."""
    return ".".join(map(str, version))


def shortcoming(version: Version) -> str:
    """What a version lacks, in one sentence; "" if it lacks nothing."""
    if version < LEAST:
        return f"{shown(version)} is too old to answer; {shown(LEAST)} or newer is needed"
    if version < LEAST_EXACT:
        return (
            f"{shown(version)} tells Claude the date before each conversation; from {shown(LEAST_EXACT)} on Claude "
            "hears the client's words alone"
        )
    return ""
