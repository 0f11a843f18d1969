"""Real clients, unmodified, against the whole server: `python -m tests.clients [NAME ...]`.

Each client is installed in an environment of its own, which is kept in `$CLAUDE_OPENAI_TEST_CACHE` or `.cache/clients`;
gets a server of its own, with the bundled Claude Code and a stand-in for Claude; and is driven by its script, which
prints one line a case. As many at a time as there are cores. Exits 1 if a case failed. Knows no client: `versions.toml`
names them, and what a case expects stands in its script.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import trio

from tests.clients.install import CLIENTS, HERE, Client, InstallFailed, environment_of, reason_to_skip, tools
from tests.clients.stand_in import serving

CACHE: Final = Path(os.environ.get("CLAUDE_OPENAI_TEST_CACHE") or HERE.parents[1] / ".cache" / "clients").resolve()
CASE: Final = "case "
# Far beyond what a client takes, so that only a hang meets it.
LIMIT_S: Final = 240


class Outcome:
    """What has been said of all clients."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.counts = {"ok": 0, "FAILED": 0, "skipped": 0}

    def case(self, client: str, case: str, result: str, detail: str = "") -> None:
        """Print one line, and below it why a case failed.

        Args:
            result: ok, FAILED or skipped.
        """
        self.counts[result] += 1
        if result == "FAILED":
            self.failed.append(f"{client} {case}")
        shown = f": {detail}" if result == "skipped" else f"\n{detail}" if result == "FAILED" else ""
        print(f"{client:<18}{case:<32}{result}{shown}", flush=True)


async def main(names: list[str]) -> bool:
    """Whether no case failed."""
    outcome, started = Outcome(), time.monotonic()
    limiter = trio.CapacityLimiter(os.cpu_count() or 1)
    pip = await tools(CACHE)
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(_client, CLIENTS[name], pip, outcome, limiter)
    counted = ", ".join(f"{count} {result}" for result, count in outcome.counts.items())
    print(f"{len(names)} clients, {counted}, {time.monotonic() - started:.0f} s")
    print("".join(f"FAILED: {each}\n" for each in outcome.failed), end="")
    return not outcome.failed


async def _client(client: Client, pip: Path, outcome: Outcome, limiter: trio.CapacityLimiter) -> None:
    async with limiter:
        if reason := reason_to_skip(client):
            outcome.case(client.name, "all", "skipped", reason)
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
        times = f"installed in {installed - begun:.1f} s, driven for {time.monotonic() - installed:.1f} s"
        print(f"{client.name:<18}{times}", flush=True)


async def _drive(client: Client, environment: Path, folder: Path, outcome: Outcome) -> None:
    server, home = folder / "server", folder / "home"
    server.mkdir()
    home.mkdir()
    done = None
    async with serving(server) as url:
        with trio.move_on_after(LIMIT_S):
            done = await trio.run_process(
                _command(client, environment, home),
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                env=_environment(environment, home, url, await _has_responses(url)),
                cwd=home,
                check=False,
            )
    if done is None:
        outcome.case(client.name, "its script", "FAILED", f"not within {LIMIT_S} s")
        return
    lines = done.stdout.decode(errors="replace").splitlines()
    cases = [json.loads(line.removeprefix(CASE)) for line in lines if line.startswith(CASE)]
    for case, result, detail in cases:
        outcome.case(client.name, case, result, detail)
    if done.returncode or not cases:
        outcome.case(client.name, "its script", "FAILED", f"exit code {done.returncode}\n" + "\n".join(lines))


def _command(client: Client, environment: Path, home: Path) -> list[str]:
    if client.script.suffix == ".py":
        # A program has its own environment; what drives it needs none.
        own = environment / "bin" / "python"
        return [str(own if own.exists() else sys.executable), str(client.script)]
    # Node looks for packages beside the script, and nowhere else.
    (home / "node_modules").symlink_to(environment / "node_modules")
    for script in client.script.parent.glob("*.mjs"):
        (home / script.name).write_bytes(script.read_bytes())
    return ["node", str(home / client.script.name)]


def _environment(environment: Path, home: Path, url: str, responses: bool) -> dict[str, str]:
    return {
        "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "none",
        "HAS_RESPONSES": "1" if responses else "",
    }


async def _has_responses(url: str) -> bool:
    """Whether the server knows `/v1/responses`."""
    host, _, port = url.removeprefix("http://").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(f"GET /v1/responses HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return b" 404 " not in (await stream.receive_some()).splitlines()[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(CLIENTS)}; by default all")
    chosen = parser.parse_args().names or list(CLIENTS)
    if unknown := set(chosen) - set(CLIENTS):
        parser.error(f"there is no client {', '.join(sorted(unknown))}")
    sys.exit(0 if trio.run(main, chosen) else 1)
