"""The routes for operators: liveness, readiness, metrics, versions, and the OpenAPI document.

None of them uses Claude. All but the metrics need no key, because probes have none, and contain nothing secret.
"""

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Final, TypeAlias

from quart import Quart, Response, request
from quart_trio.wrappers import TrioResponse

from claude_openai._version import __version__
from claude_openai.config import Config
from claude_openai.runs.registry import LOGIN_DOUBT_S, Runs
from claude_openai.web.access import has_control_routes
from claude_openai.web.json_response import json_response
from claude_openai.web.openapi import openapi_document

__all__ = ["OPEN_PATHS", "BackendStatus", "add_operator_routes", "readiness"]

# Reachable without a key: they contain nothing secret.
OPEN_PATHS: Final = frozenset({"/health", "/ready", "/version", "/openapi.json"})

BackendStatus: TypeAlias = Callable[[], Mapping[str, Any]]

_MESSAGES: Final = {
    "draining": "The server is stopping: running turns may end, new requests are rejected. Use another server, or "
    "start this one again.",
    "no_cli": "Claude Code was not found. Run `npm install -g @anthropic-ai/claude-code` on the machine of this "
    "server, which needs no restart then, or start the server with --claude-command PATH.",
    "not_logged_in": "At the last turn Claude Code was not logged in, or Claude rejected its login. The error of that "
    "turn has the command that logs in; or start the server with ANTHROPIC_API_KEY. The next successful turn clears "
    f"this; without a turn the server reports ready again after {LOGIN_DOUBT_S / 60:g} minutes, as the login may have "
    "been renewed.",
    "login_missing": "Claude Code is not logged in. Run `claude auth login` as the user of this server, which needs no "
    "restart then, or start the server with ANTHROPIC_API_KEY.",
    "queue_full": "All slots and the queue are full. Wait, or start the server with a larger --max-concurrency or "
    "--max-queue-size.",
}


def add_operator_routes(app: Quart, config: Config, runs: Runs, status: BackendStatus) -> None:
    """Add the routes.

    Args:
        app: the app.
        config: the settings.
        runs: the runs of the server.
        status: returns further fields of `/health`.
    """
    views = OperatorViews(config, runs, status, _sdk_version())
    app.add_url_rule("/health", "health", views.health, methods=["GET"])
    app.add_url_rule("/ready", "ready", views.ready, methods=["GET"])
    app.add_url_rule("/version", "version", views.version, methods=["GET"])
    app.add_url_rule("/metrics", "metrics", views.metrics, methods=["GET"])
    app.add_url_rule("/openapi.json", "openapi", views.openapi, methods=["GET"])


@cache
def _sdk_version() -> str:
    return metadata.version("claude-agent-sdk")


@dataclass(frozen=True, slots=True)
class OperatorViews:
    """The views."""

    config: Config
    runs: Runs
    status: BackendStatus
    # Read at the start: another version may be installed while the server runs.
    sdk_version: str

    async def health(self) -> Response:
        """Report liveness: the process responds; the state of Claude does not matter."""
        return _fresh({"status": "ok", **self.status()})

    async def ready(self) -> Response:
        """Report readiness: whether the server would accept a turn now, as far as it knows without using Claude."""
        report = readiness(self.runs, self.status())
        return _fresh(report, 200 if report["ready"] else 503)

    async def version(self) -> Response:
        return _fresh(
            {
                "name": "claude-openai",
                "version": __version__,
                "backend": self.runs.backend.name,
                "claude_agent_sdk": self.sdk_version,
                "python": platform.python_version(),
            }
        )

    async def metrics(self) -> Response:
        # Imported here, because listening does not need the library (see `preload`).
        from claude_openai.web.prometheus import exposition

        body, content_type = exposition(self.runs, request.headers.get("Accept", ""))
        return TrioResponse(body, headers={"content-type": content_type})

    async def openapi(self) -> Response:
        has_control = has_control_routes(self.config)
        return _fresh(openapi_document(has_key=self.config.api_key is not None, has_control=has_control))


def readiness(runs: Runs, status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of `/ready`; `status` is that of the backend."""
    reasons = [{"reason": reason, "message": _MESSAGES[reason]} for reason in _reasons(runs, status)]
    return {"ready": not reasons, "reasons": reasons}


def _reasons(runs: Runs, status: Mapping[str, Any]) -> Iterator[str]:
    if runs.admission.draining:
        yield "draining"
    claude = status.get("claude", {})
    if not claude.get("found", True):
        yield "no_cli"
    if claude.get("login") == "missing":
        yield "login_missing"
    elif runs.login_refused:
        yield "not_logged_in"
    if runs.admission.full:
        yield "queue_full"


def _fresh(value: object, status: int = 200) -> Response:
    response = json_response(value, status)
    response.headers["cache-control"] = "no-store"
    return response
