"""The paths for whoever runs the server: whether it lives, whether it can take work, what it counts, what it is,
and what may be asked of it.

None of them touches Claude. They are open, since a probe has no key, and say nothing secret; the counts alone are not.
"""

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final, TypeAlias

from quart import Quart, Response, request
from quart_trio.wrappers import TrioResponse

from claude_openai._version import __version__
from claude_openai.config import Config
from claude_openai.runs.registry import LOGIN_DOUBT_S, Runs
from claude_openai.web.control import has_control_routes
from claude_openai.web.json_response import json_response
from claude_openai.web.openapi import openapi_document

__all__ = ["OPEN_PATHS", "BackendStatus", "add_operator_routes"]

# Reachable without a key: they say nothing that the open port does not say.
OPEN_PATHS: Final = frozenset({"/health", "/ready", "/version", "/openapi.json"})

BackendStatus: TypeAlias = Callable[[], Mapping[str, Any]]

_MEND: Final = {
    "draining": "The server is stopping: running turns may end, new ones are refused. Ask another, or start it again.",
    "no_cli": "There is no Claude Code to run: `npm install -g @anthropic-ai/claude-code` on the machine of this "
    "server, or name one with --claude-command. No restart is needed.",
    "not_logged_in": "Claude refused the last turn's login: run `claude auth login` on the machine of this server, or "
    "give the server ANTHROPIC_API_KEY. The next turn that works clears this; without one it is in doubt again, and "
    f"the server ready, after {LOGIN_DOUBT_S / 60:g} minutes.",
    "queue_full": "All slots and the queue are taken: wait, or start the server with a larger --max-concurrency or "
    "--max-queue-size.",
}


def add_operator_routes(app: Quart, config: Config, runs: Runs, status: BackendStatus) -> None:
    """Add them.

    Args:
        app: where to.
        config: the settings.
        runs: of the server.
        status: what `/health` tells beside that the process answers.
    """
    views = OperatorViews(config, runs, status, metadata.version("claude-agent-sdk"))
    app.add_url_rule("/health", "health", views.health, methods=["GET"])
    app.add_url_rule("/ready", "ready", views.ready, methods=["GET"])
    app.add_url_rule("/version", "version", views.version, methods=["GET"])
    app.add_url_rule("/metrics", "metrics", views.metrics, methods=["GET"])
    app.add_url_rule("/openapi.json", "openapi", views.openapi, methods=["GET"])


@dataclass(frozen=True, slots=True)
class OperatorViews:
    """The views, with what they need."""

    config: Config
    runs: Runs
    status: BackendStatus
    # As it was at the start: what is on the disk later may be another version.
    sdk_version: str

    async def health(self) -> Response:
        """Liveness: the process answers, whatever there is of Claude, which it never touches."""
        return _fresh({"status": "ok", **self.status()})

    async def ready(self) -> Response:
        """Readiness: a turn that came now would be taken, as far as the server knows without asking Claude."""
        reasons = [{"reason": reason, "message": _MEND[reason]} for reason in self._reasons()]
        return _fresh({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

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
        # Here, since the library is not needed to listen (`preload`).
        from claude_openai.web.prometheus import exposition

        body, content_type = exposition(self.runs, request.headers.get("Accept", ""))
        return TrioResponse(body, headers={"content-type": content_type})

    async def openapi(self) -> Response:
        has_control = has_control_routes(self.config)
        return _fresh(openapi_document(has_key=self.config.api_key is not None, has_control=has_control))

    def _reasons(self) -> Iterator[str]:
        if self.runs.admission.draining:
            yield "draining"
        if not self.status().get("claude", {}).get("found", True):
            yield "no_cli"
        if self.runs.login_refused:
            yield "not_logged_in"
        if self.runs.admission.full:
            yield "queue_full"


def _fresh(value: object, status: int = 200) -> Response:
    response = json_response(value, status)
    response.headers["cache-control"] = "no-store"
    return response
