"""A local server that lets any OpenAI client use Claude Code.

A request goes `web` -> `protocol/openai` -> `runs` -> `claude`, and its answer goes back as events
(`protocol/turn/events`) through a memory channel. `.github/ARCHITECTURE.md` in the repository has the steps.

- `errors`, `config`: failures as the client gets them, and the settings.
- `protocol`: translation between OpenAI's APIs and Claude Code's records. Pure: no I/O.
- `claude`: runs turns, in live conversations over the Agent SDK or in one CLI process for each turn.
- `runs`: admission, the registry of runs, metrics, and the files of runs. A run belongs to its request: when the client
  leaves, the request's nursery is cancelled, with it the turn, and with it the process and all that descends from it.
- `web`: HTTP, access control, routes.
- `logs`: the log, without secrets.
- `server`: puts the parts together. `commands`: flags, signals, exit codes, and the commands for a running server.
- `standin`: a stand-in for Claude's Messages API, for the demo and for probes. `testing`: the same for test suites.

As a library: `urls = await nursery.start(claude_openai.serve, claude_openai.Config(port=0))`.
"""

from typing import TYPE_CHECKING, Any

from claude_openai._version import __version__
from claude_openai.config import Config

if TYPE_CHECKING:
    from claude_openai.server import serve

__all__ = ["Config", "__version__", "serve"]


def __getattr__(name: str) -> Any:
    # `serve` brings the whole HTTP stack; a command such as --help must not pay for it.
    if name == "serve":
        from claude_openai.server import serve

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
