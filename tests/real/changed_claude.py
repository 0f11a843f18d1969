"""A Claude Code that changes its requests: the tested one, behind a proxy between it and the stand-in."""

import http.client
import json
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.conditions import tested_claude
from tests.real.fake_cli import fake_cli
from tests.real.harness import LIMIT_S

__all__ = ["changed_claude"]


@contextmanager
def changed_claude(folder: Path, change: Callable[[dict[str, Any]], None]) -> Iterator[str]:
    """The path of the program, which works while the block runs.

    Args:
        folder: where the program is written.
        change: changes the body of a request to Claude's API in place; called in threads.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._forward(b"")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            change(body)
            self._forward(json.dumps(body).encode())

        def _forward(self, body: bytes) -> None:
            address, _, path = self.path.removeprefix("/").partition("/")
            own = ("host", "connection", "content-length", "accept-encoding")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in own}
            connection = http.client.HTTPConnection(address, timeout=LIMIT_S)
            connection.request(self.command, f"/{path}", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            through = f"http://127.0.0.1:{server.server_port}/${{ANTHROPIC_BASE_URL#http://}}"
            claude = shlex.quote(str(tested_claude()))
            yield fake_cli(folder, f'export ANTHROPIC_BASE_URL="{through}"; exec {claude} "$@"')
        finally:
            server.shutdown()
            thread.join()
