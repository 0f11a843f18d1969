"""The record of a running server, for tests that need one."""

import os

from claude_openai.commands.instance.record import (
    Instance,
)

__all__ = ["ONE"]


ONE = Instance(
    pid=os.getpid(),
    port=8000,
    base_url="http://127.0.0.1:8000",
    control_key="a-secret",
    version="1.2.3",
    backend="sdk",
    started_at=1234.5,
    log_file=None,
    output_dir="",
    argv=("--port", "8000"),
    cwd="/",
    background=True,
)
