"""The turns of this server on other versions of Claude Code than the bundled one, which its users renew every day.

    python -m tests.compat                       # the ones below, the bundled one and the newest
    python -m tests.compat 2.1.300 newest

Each version comes from npm, without its install scripts, and runs the tests of `TESTS` in place of the bundled one. A
test of what a version is documented to lack (`claude_openai/claude/process/version.py`) is skipped by its condition
(`tests/conditions.py`) and reported as such; each failure is unexpected. The exit code is 1 only if the bundled version
has failed.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from claude_openai.claude.process.program import find_claude

PACKAGE: Final = "@anthropic-ai/claude-code"
OLDER: Final = ("2.1.200", "2.1.300")
BUNDLED, NEWEST = "bundled", "newest"
TESTS: Final = tuple(
    f"tests/real/{room}/test_{name}.py"
    for room, name in (
        ("claude", "priming"),
        ("claude/control", "tools"),
        ("claude/process", "cache_ttl"),
        ("claude/sdk", "conversation_faults"),
        ("claude/sdk", "conversations"),
        ("claude/sdk", "rewinding"),
        ("claude/transcript", "late_transcripts"),
        ("claude/transcript", "replays"),
        ("protocol/openai", "field_shapes"),
        ("protocol/openai", "upstream"),
        ("protocol/openai/responses", "responses"),
    )
)
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) \S+?::(.*?)(?: - .*)?$", re.MULTILINE)
SKIPPED: Final = re.compile(r"^SKIPPED \[(\d+)\] \S+ (?:\S+ is not on this machine: )?(.*)$", re.MULTILINE)
# How a condition on the version ends; the others are of the machine.
OF_VERSION: Final = re.compile(r"takes Claude Code [\d.]+ or newer$")
INSTALL_S: Final = 300


def installed(version: str, folder: Path) -> Path:
    """The program of a version, installed into a folder.

    Raises:
        CalledProcessError: npm cannot install it.
        FileNotFoundError: it has none for this machine.
    """
    package = f"{PACKAGE}@{'latest' if version == NEWEST else version}"
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(["npm", "install", "--prefix", str(folder), *flags, package], check=True, timeout=INSTALL_S)
    found = next(folder.glob(f"node_modules/{PACKAGE}-*/claude"), None)
    if found is None:
        raise FileNotFoundError(f"{package} has no program for this machine")
    return found


def version_of(claude: Path) -> str:
    """What the program says of itself."""
    said = subprocess.run([claude, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    return said.split()[0]


def report(version: str, tests: Sequence[str]) -> bool:
    """Run the tests on a version, and print what came of it. Returns whether all have passed."""
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ)
        name = BUNDLED
        if version != BUNDLED:
            claude = installed(version, Path(folder))
            env["CLAUDE_OPENAI_TEST_CLAUDE"] = str(claude)
            name = version_of(claude)
            if version == NEWEST and name == version_of(find_claude(None)):
                print(f"{version} ({name}): it is the bundled one")
                return True
        command = [sys.executable, "-m", "pytest", "-q", "-rfEs", "-n", "auto", "--dist=worksteal", "-m", "", *tests]
        run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    for line in (f"{version} ({name}): {summary(run)}", *differences(run.stdout)):
        print(line, flush=True)
    return run.returncode == 0


def summary(run: "subprocess.CompletedProcess[str]") -> str:
    """The last line of pytest."""
    return run.stdout.strip().splitlines()[-1].strip("= ") if run.stdout.strip() else run.stderr


def differences(output: str) -> Iterator[str]:
    """Lines for what a version is documented to lack, what this machine lacks, and what failed."""
    counts: dict[str, int] = {}
    for count, why in SKIPPED.findall(output):
        counts[why] = counts.get(why, 0) + int(count)
    for why, count in counts.items():
        yield f"  {'as documented' if OF_VERSION.search(why) else 'not tested here'}: {why} ({count} tests)"
    for failed in FAILED.findall(output):
        yield f"  UNEXPECTED: {failed}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description="Other versions of Claude Code.")
    parser.add_argument("versions", nargs="*", default=[*OLDER, BUNDLED, NEWEST])
    failed = [version for version in parser.parse_args().versions if not report(version, TESTS)]
    return int(BUNDLED in failed)


if __name__ == "__main__":
    raise SystemExit(main())
