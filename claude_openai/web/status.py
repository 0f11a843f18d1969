"""The routes for operators: liveness, readiness, metrics, versions, and the OpenAPI document.

None of them uses Claude. All but the metrics need no key, because probes have none, and contain nothing secret.
"""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Final, TypeAlias

from quart import Quart, Response, request
from quart_trio.wrappers import TrioResponse

from claude_openai._version import __version__
from claude_openai.config import Config
from claude_openai.logs.log import NULL_LOG, Log
from claude_openai.runs.registry import Runs
from claude_openai.web.access import has_control_routes
from claude_openai.web.json_response import json_response
from claude_openai.web.openapi import openapi_document
from claude_openai.web.readiness import readiness

__all__ = ["OPEN_PATHS", "BackendStatus", "add_operator_routes"]

# Reachable without a key: they contain nothing secret.
OPEN_PATHS: Final = frozenset({"/health", "/ready", "/version", "/openapi.json"})

BackendStatus: TypeAlias = Callable[[], Mapping[str, Any]]


def add_operator_routes(app: Quart, config: Config, runs: Runs, status: BackendStatus, log: Log = NULL_LOG) -> None:
    """Add the routes.

    Args:
        app: the app.
        config: the settings.
        runs: the runs of the server.
        status: returns further fields of `/health`.
        log: the log of the server.
    """
    views = OperatorViews(config, runs, status, _sdk_version(), log)
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
    log: Log

    async def health(self) -> Response:
        """Report liveness: the process responds; the state of Claude does not matter."""
        return _fresh({"status": "ok", **self.status()})

    async def ready(self) -> Response:
        """Report readiness: whether the server would accept a turn now, as far as it knows without using Claude."""
        report = readiness(self.runs, self.status(), self.log)
        admission = self.runs.admission
        slots = {"total": admission.slots, "free": admission.free, "queued": admission.queued}
        return _fresh({**report, "slots": slots}, 200 if report["ready"] else 503)

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
        return _fresh(openapi_document(has_key=self.config.needs_key, has_control=has_control))


def _fresh(value: object, status: int = 200) -> Response:
    response = json_response(value, status)
    response.headers["cache-control"] = "no-store"
    return response
