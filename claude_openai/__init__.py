"""A local server that lets any OpenAI client use Claude Code.

A request passes through `web`, `protocol/openai`, `runs` and `claude`. The answer comes back as events
(`protocol/turn/events`) through a memory channel. `.github/ARCHITECTURE.md` in the repository lists the steps.

- `errors`, `config`: the errors that clients see, and the settings.
- `protocol`: translation between the APIs of clients and Claude Code's records. Pure: no I/O.
- `claude`: runs turns, in live conversations over the Agent SDK or in one CLI process for each turn.
- `runs`: admission, the registry of runs, metrics, and the files of runs. A run belongs to its request: when the client
  disconnects, the request's nursery is cancelled, which ends the turn, its process and the descendants of the process.
- `web`: HTTP, access control, routes.
- `logs`: the log, with secrets redacted.
- `server`: the composition root. `commands`: flags, signals, exit codes, and the commands for a running server.
- `standin`: a stand-in for Claude's Messages API, for the demo and for probes. `testing`: the same for test suites.

As a library: `urls = await nursery.start(claude_openai.serve, claude_openai.Config(port=0))`.
"""

from typing import TYPE_CHECKING

from claude_openai._version import __version__

if TYPE_CHECKING:
    from claude_openai.config import Config
    from claude_openai.errors import ConfigError, StartError
    from claude_openai.server import serve

__all__ = ["Config", "ConfigError", "StartError", "__version__", "serve"]

# `serve` imports the whole HTTP stack, which would slow down commands such as --help, and `Config` takes a fifth of
# the time that pytest takes to start, which loads `pytest_plugin` each time.
_MODULES = {
    "Config": "claude_openai.config",
    "ConfigError": "claude_openai.errors",
    "StartError": "claude_openai.errors",
    "serve": "claude_openai.server",
}

if not TYPE_CHECKING:  # type checkers would take every name to exist

    def __getattr__(name):
        from importlib import import_module

        if name in _MODULES:
            return getattr(import_module(_MODULES[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
