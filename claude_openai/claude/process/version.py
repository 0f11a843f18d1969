"""The versions of Claude Code that can be used, and what the older of them lack.

The bounds were found by bisecting the versions on npm, with `claude-openai doctor --self-test`, which runs each kind of
turn, and with the tests that need a condition `...-claude` of `tests/conditions.py`.
"""

import re
from typing import Final, TypeAlias

__all__ = ["LACKS", "LEAST", "LEAST_CACHE_TTL", "LEAST_COMPLETE", "LEAST_DESCRIBED", "LEAST_EXACT", "LEAST_LONG"]
__all__ += [
    "LEAST_ONE_CALL",
    "LEAST_ORDERED",
    "LEAST_REWINDING",
    "LEAST_VERBATIM",
    "RENEW",
    "Version",
    "parse_version",
    "shortcoming",
]
__all__ += ["show_version"]

Version: TypeAlias = tuple[int, ...]

# 2.1.168 ends with "error: unknown option '--safe-mode'"; 2.1.169 answers each kind of turn.
LEAST: Final[Version] = (2, 1, 169)
# 2.1.186 makes one more call after a structured output.
LEAST_ONE_CALL: Final[Version] = (2, 1, 187)
# 2.1.200 sends the results of parallel calls in the order of their arrival, at times.
LEAST_ORDERED: Final[Version] = (2, 1, 201)
# 2.1.241 has no setting `promptCacheTtl`.
LEAST_CACHE_TTL: Final[Version] = (2, 1, 242)
# 2.1.247 answers the prompt "/help" itself.
LEAST_VERBATIM: Final[Version] = (2, 1, 248)
# 2.1.185 does not support `rewind_conversation`; 2.1.245 does, but not in a conversation that began with a history.
LEAST_REWINDING: Final[Version] = (2, 1, 250)
# 2.1.278 cuts the descriptions of tools, 2.1.280 sends them whole; 2.1.279 is not on npm.
LEAST_DESCRIBED: Final[Version] = (2, 1, 280)
# 2.1.260 puts the date before the first message, 2.1.280 sends its environment beside results of live tools.
LEAST_EXACT: Final[Version] = (2, 1, 282)
# 2.1.284 refuses a prompt of 1 MB, because it knows a context of 200,000 tokens only.
LEAST_LONG: Final[Version] = (2, 1, 285)
RENEW: Final = "update it with `npm install -g @anthropic-ai/claude-code`, or leave out --claude-command"

# What a version lacks, with the first version that does not lack it; the newest first.
LACKS: Final = (
    (LEAST_LONG, "a prompt of 1 MB is refused as too long"),
    (LEAST_EXACT, "Claude gets the date before each conversation"),
    (LEAST_DESCRIBED, "long descriptions of tools are cut"),
    (LEAST_REWINDING, "an edited conversation needs a new process"),
    (LEAST_VERBATIM, "a prompt like `/help` is not sent to Claude"),
    (LEAST_CACHE_TTL, "no request can set how long its prompt stays cached"),
    (LEAST_ORDERED, "results of parallel calls may change places"),
    (LEAST_ONE_CALL, "an answer with a JSON schema takes a second call"),
)
# Lacks nothing, as does each later version.
LEAST_COMPLETE: Final = LACKS[0][0]


def parse_version(output: str) -> Version | None:
    """Parse the output of `claude --version`, like "2.1.332 (Claude Code)"; return None if it has no version."""
    found = re.match(r"\s*(\d+(?:\.\d+)+)", output)
    return None if found is None else tuple(map(int, found[1].split(".")))


def show_version(version: Version) -> str:
    """Format a version like "2.1.332"."""
    return ".".join(map(str, version))


def shortcoming(version: Version) -> str:
    """Return what a version lacks, on one line; "" for a version that lacks nothing."""
    if version < LEAST:
        return f"{show_version(version)} is too old; expected {show_version(LEAST)} or newer"
    lacks = [lack for least, lack in LACKS if version < least]
    if not lacks:
        return ""
    return f"{show_version(version)} is older than {show_version(LEAST_COMPLETE)}: {', '.join(lacks)}"
