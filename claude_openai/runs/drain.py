"""The graceful end of a server: lame duck, then drain.

A lame duck reports that it is not ready and still takes turns, so that a load balancer finds out before any turn is
refused. A draining server refuses new turns, and its running turns may end.
"""

import trio

from claude_openai.logs.log import Log
from claude_openai.runs.admission import Admission

__all__ = ["drain_at"]


async def drain_at(stop: trio.Event, admission: Admission, lame_duck_s: float, timeout_s: float, log: Log) -> None:
    """Wait for `stop`, then drain. Return when no turn is left, or when the time is over.

    Args:
        stop: begins the end.
        admission: that of the server.
        lame_duck_s: how long new turns are taken after `stop`.
        timeout_s: how long running turns may go on after that.
        log: gets `server.lame_duck` and `server.drain`.
    """
    await stop.wait()
    if lame_duck_s > 0:
        admission.become_lame_duck()
        log.info("server.lame_duck", running=admission.running, queued=admission.queued)
        await trio.sleep(lame_duck_s)
    admission.draining = True
    log.info("server.drain", running=admission.running, queued=admission.queued)
    with trio.move_on_after(timeout_s):
        await admission.wait_idle()
