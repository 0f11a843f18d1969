"""`status`: whether a server runs, where, and how it is. For scripts and prompts, so it loads next to nothing."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from claude_openai.commands import command_parser
from claude_openai.commands.instance.health import ask
from claude_openai.commands.instance.installed import RESTART_HINT, outdated
from claude_openai.commands.instance.record import Instance, find_instance, instance_folder

__all__ = ["run"]


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print a line, and one a warning, or a JSON object. 0 if a server runs and is healthy, else 1."""
    parser = command_parser("status")
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of a line")
    as_json = parser.parse_args(list(argv)).json
    status = _status(find_instance(instance_folder(environ)))
    print(json.dumps(status) if as_json else "\n".join(_lines(status)))
    return 0 if status["running"] and status["health"] == "ok" else 1


def _status(instance: Instance | None) -> dict[str, Any]:
    if instance is None:
        names = ("pid", "port", "base_url", "health", "version", "uptime_s", "runs")
        return {"running": False, **dict.fromkeys(names), "warnings": []}
    answers = ask(instance, for_runs=True)
    difference = outdated(instance)
    return {
        "running": True,
        "pid": instance.pid,
        "port": instance.port,
        "base_url": instance.base_url,
        "health": answers.health,
        "version": instance.version,
        "uptime_s": max(0, round(time.time() - instance.started_at)),
        "runs": answers.runs,
        "warnings": [*answers.warnings, *([f"{difference}; {RESTART_HINT}"] if difference else [])],
    }


def _lines(status: Mapping[str, Any]) -> list[str]:
    if not status["running"]:
        return ["claude-openai is not running"]
    runs = ", ".join(f"{number} {state}" for state, number in (status["runs"] or {}).items())
    return [
        f"claude-openai {status['version']} runs: pid {status['pid']}, {status['base_url']}, "
        f"health {status['health']}, up {_duration(status['uptime_s'])}{f', runs: {runs}' if runs else ''}",
        *(f"warning: {warning}" for warning in status["warnings"]),
    ]


def _duration(seconds: int) -> str:
    minutes, hours = seconds // 60, seconds // 3600
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
