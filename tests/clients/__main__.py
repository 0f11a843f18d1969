"""Real clients, unmodified, against the whole server: `python -m tests.clients [NAME ...]`.

Each client is installed in an environment of its own, which is kept in `$CLAUDE_OPENAI_TEST_CACHE` or `.cache/clients`;
gets a server of its own, with the bundled Claude Code and a stand-in for Claude; and is driven by its script, which
prints one line a case. A test of the documentation that uses the client is run, too. As many at a time as there are
cores. Exits 1 if a case failed, or was not run, unless `versions.toml` says that the client cannot do it. A client that
this machine cannot have is skipped; where CI is set that is a failure, too. It does not depend on any client: what a
case expects is in its script.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Final

import trio

from tests.clients.install import InstallFailed, environment_of, reason_to_skip, tools
from tests.clients.stand_in import serving
from tests.clients.table import CLIENTS, HERE, Client

CACHE: Final = Path(os.environ.get("CLAUDE_OPENAI_TEST_CACHE") or HERE.parents[1] / ".cache" / "clients").resolve()
CASE: Final = "case "
# Far beyond what a client takes, so that only a hang meets it.
LIMIT_S: Final = 600
IN_CI: Final = os.environ.get("CI", "").lower() not in ("", "0", "false")
# The variables of the client are from `connect openai`.
CONNECTED: Final = """eval "$("$0" -m claude_openai connect openai --url "$1")" && shift && exec "$@\""""


class Outcome:
    """The results of all clients."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self.counts = {"ok": 0, "FAILED": 0, "skipped": 0}

    def case(self, client: str, case: str, result: str, detail: str = "") -> None:
        """Print one line, and below it why a case failed.

        Args:
            result: ok, FAILED or skipped.
        """
        self.counts[result] += 1
        if result == "FAILED":
            self.failed.append(f"{client} {case}")
        elif result == "skipped":
            self.skipped.append(f"{client}: {detail}")
        shown = f": {detail}" if result == "skipped" else f"\n{detail}" if result == "FAILED" else ""
        print(f"{client:<18}{case:<42}{result}{shown}", flush=True)


async def main(names: list[str]) -> bool:
    """Whether no case failed."""
    outcome, started = Outcome(), time.monotonic()
    pip = await tools(CACHE)
    # The programs stand last, and take the longest: they begin.
    waiting = [CLIENTS[name] for name in names]
    async with trio.open_nursery() as nursery:
        for _ in range(os.cpu_count() or 1):
            nursery.start_soon(_work, waiting, pip, outcome)
    counted = ", ".join(f"{count} {result}" for result, count in outcome.counts.items())
    print(f"{len(names)} clients, {counted}, {time.monotonic() - started:.0f} s")
    print("".join(f"SKIPPED: {each}\n" for each in outcome.skipped), end="")
    print("".join(f"FAILED: {each}\n" for each in outcome.failed), end="")
    return not outcome.failed


async def _work(waiting: list[Client], pip: Path, outcome: Outcome) -> None:
    while waiting:
        await _client(waiting.pop(), pip, outcome)


async def _client(client: Client, pip: Path, outcome: Outcome) -> None:
    if reason := reason_to_skip(client):
        outcome.case(client.name, "all", "FAILED" if IN_CI else "skipped", reason)
        return
    begun = time.monotonic()
    try:
        environment = await environment_of(client, CACHE, pip)
    except InstallFailed as error:
        outcome.case(client.name, "its installation", "FAILED", str(error))
        return
    installed = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"{client.name}-", ignore_cleanup_errors=True) as temporary:
        await _drive(client, environment, Path(temporary), outcome)
        if client.example is not None:
            await _run_example(client, client.example, environment, Path(temporary) / "home", outcome)
    times = f"installed in {installed - begun:.1f} s, driven for {time.monotonic() - installed:.1f} s"
    print(f"{client.name:<18}{times}", flush=True)


async def _drive(client: Client, environment: Path, folder: Path, outcome: Outcome) -> None:
    server, home = folder / "server", folder / "home"
    server.mkdir()
    home.mkdir()
    said, code = folder / "output", None
    async with serving(server) as (url, control):
        with said.open("wb") as output, trio.move_on_after(LIMIT_S):
            done = await trio.run_process(
                ["sh", "-c", CONNECTED, sys.executable, url, *_command(client, environment, home)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(environment, home, control),
                cwd=home,
                check=False,
                start_new_session=True,
                deliver_cancel=_end,
            )
            code = done.returncode
    lines = said.read_text("utf-8", errors="replace").splitlines()
    cases = [json.loads(line.removeprefix(CASE)) for line in lines if line.startswith(CASE)]
    for case, result, detail in cases:
        outcome.case(client.name, case, result, detail)
    complaints = client.complaints([case for case, _, _ in cases])
    if code != 0 or complaints:
        ended = f"not within {LIMIT_S} s" if code is None else f"exit code {code}"
        outcome.case(client.name, "its script", "FAILED", "\n".join([ended, *complaints, *lines]))


async def _run_example(client: Client, example: Path, environment: Path, home: Path, outcome: Outcome) -> None:
    with trio.move_on_after(LIMIT_S):
        done = await trio.run_process(
            [_python(environment), HERE / "python" / "run_example.py", sysconfig.get_path("purelib"), example],
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            env=_environment(environment, home, ""),
            cwd=home,
            check=False,
            start_new_session=True,
            deliver_cancel=_end,
        )
        result = "FAILED" if done.returncode else "ok"
        outcome.case(client.name, example.stem, result, done.stdout.decode(errors="replace"))
        return
    outcome.case(client.name, example.stem, "FAILED", f"not within {LIMIT_S} s")


async def _end(process: trio.Process) -> None:
    """End a script with all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)


def _command(client: Client, environment: Path, home: Path) -> list[str]:
    if client.script.suffix == ".py":
        return [_python(environment), str(client.script)]
    # Node looks for packages beside the script, and nowhere else.
    (home / "node_modules").symlink_to(environment / "node_modules")
    for script in client.script.parent.glob("*.mjs"):
        (home / script.name).write_bytes(script.read_bytes())
    return ["node", str(home / client.script.name)]


def _python(environment: Path) -> str:
    # A program has its own environment; what drives it needs none.
    own = environment / "bin" / "python"
    return str(own if own.exists() else sys.executable)


def _environment(environment: Path, home: Path, control: str) -> dict[str, str]:
    return {
        "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "TMPDIR": str(home),
        "STAND_IN": control,
        "CLAUDE_OPENAI": json.dumps([sys.executable, "-m", "claude_openai"]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(CLIENTS)}; by default all")
    chosen = parser.parse_args().names or list(CLIENTS)
    if unknown := set(chosen) - set(CLIENTS):
        parser.error(f"there is no client {', '.join(sorted(unknown))}")
    sys.exit(0 if trio.run(main, chosen) else 1)
