"""A local server that lets any OpenAI client use Claude Code.

The way of the data, one direction: `web/app` -> `protocol/openai/chat/request` (or `protocol/openai/responses/request`)
-> `runs/registry` (-> `runs/admission`) -> `claude/*` -> `protocol/turn/events` -> `protocol/openai/chat/completion`
(or `protocol/openai/responses/stream`) -> `protocol/openai/sse` -> `web/http/event_stream`.

- `errors`, `config`: what can go wrong, and what is configured.
- `protocol`: pure translation between OpenAI's wire formats and Claude Code's. No I/O.
- `claude`: how a turn is run: a live conversation, which is a supervised process with the SDK's client over it; found
  by its whole history, taken from the spares, or started with a transcript of the history. Or, with the CLI backend,
  one process a turn.
- `runs`: who may run now, one run as one `async with`, what is counted and kept of it. A run belongs to its request:
  when the client goes away, the request is cancelled, with it the run's nursery, with it the turn, with it the process
  and all that descends from it.
- `web`: who may call, which route, how a run becomes a response.
- `logs`: what is written down, without secrets.
- `server`: the composition root; `commands`: flags, signals, exit codes, and how a running server is found.
- `testing`: a stand-in for Claude's Messages API, for harnesses outside this project too.

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
