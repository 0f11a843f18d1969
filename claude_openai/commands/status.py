"""`status`: whether a server is running, and its health. Shell prompts call it, so it imports as little as possible."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from claude_openai.commands import command_parser, not_running
from claude_openai.commands.instance.health import ask
from claude_openai.commands.instance.installed import RESTART_HINT, outdated
from claude_openai.commands.instance.record import Instance, find_instance, instance_folder
from claude_openai.config.setting import Parser

__all__ = ["parser", "run"]

EXIT_NOT_HEALTHY: Final = 1
EXIT_NOT_READY: Final = 3


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser(
        "status",
        "Show whether a server is running, its address and its health. Exit code 0 if it is healthy, 3 if it is but "
        "would refuse a turn now, else 1.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of text")
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print a line and the warnings, or a JSON object.

    Returns:
        0 if a healthy server is running, 3 if it would refuse a turn now (see `/ready`), 1 if there is none.
    """
    as_json = parser().parse_args(list(argv)).json
    folder = instance_folder(environ)
    status = _status(find_instance(folder))
    print(json.dumps(status) if as_json else "\n".join(_lines(status, folder)))
    if not status["running"] or status["health"] != "ok":
        return EXIT_NOT_HEALTHY
    return 0 if status["ready"] else EXIT_NOT_READY


def _status(instance: Instance | None) -> dict[str, Any]:
    if instance is None:
        names = ("pid", "port", "base_url", "health", "ready", "login", "version", "uptime_s", "runs")
        return {"running": False, **dict.fromkeys(names), "warnings": []}
    answers = ask(instance, for_runs=True)
    difference = outdated(instance)
    return {
        "running": True,
        "pid": instance.pid,
        "port": instance.port,
        "base_url": instance.base_url,
        "health": answers.health,
        "ready": answers.health == "ok" and not answers.refusals,
        "login": answers.login or None,
        "version": instance.version,
        "uptime_s": max(0, round(time.time() - instance.started_at)),
        "runs": answers.runs,
        "warnings": [
            *answers.refusals,
            *answers.warnings,
            *([f"{difference}; {RESTART_HINT}"] if difference else []),
        ],
    }


def _lines(status: Mapping[str, Any], folder: Path) -> list[str]:
    if not status["running"]:
        return [not_running(folder)]
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
