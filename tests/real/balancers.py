"""The load balancers of docker/replicas, each with its own program, in front of servers on this machine."""

import re
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio
import yaml

from tests.conditions import ENVOY, HAPROXY, NGINX, TRAEFIK
from tests.real.call import Call
from tests.real.harness import LIMIT_S

__all__ = [
    "Balancer",
    "balancing",
    "envoy",
    "free_port",
    "haproxy",
    "haproxy_by_name",
    "naming",
    "nginx",
    "replicas_behind",
    "traefik",
    "until_behind",
]

POLL_S: Final = 0.05
FOLDER: Final = Path(__file__).parents[2] / "docker" / "replicas"


@dataclass(frozen=True, slots=True)
class Balancer:
    """A running load balancer."""

    process: trio.Process
    config: Path


# Writes the configuration for a port and the addresses of replicas into a folder. Returns its file and the command.
Kind = Callable[[Path, int, Sequence[str]], tuple[Path, list[str]]]


def haproxy(folder: Path, port: int, replicas: Sequence[str]) -> tuple[Path, list[str]]:
    lines = "\n".join(f"    server replica{number} {address}" for number, address in enumerate(replicas, 1))
    text = re.sub(r"^ +server-template .*$", lines, (FOLDER / "haproxy.cfg").read_text(), flags=re.MULTILINE)
    config = _written(folder / "haproxy.cfg", text.replace("bind :8000", f"bind 127.0.0.1:{port}"))
    return config, [str(HAPROXY), "-db", "-f", str(config)]


def haproxy_by_name(name_server: int) -> Kind:
    """HAProxy as in containers, with a name server on this port, and one name with the addresses of all replicas."""

    def kind(folder: Path, port: int, replicas: Sequence[str]) -> tuple[Path, list[str]]:
        text = (FOLDER / "haproxy.cfg").read_text().replace("bind :8000", f"bind 127.0.0.1:{port}")
        text = text.replace("parse-resolv-conf", f"nameserver test 127.0.0.1:{name_server}")
        text = text.replace("presetenv REPLICAS replica:8000", f"presetenv REPLICAS {replicas[0]}")
        config = _written(folder / "haproxy.cfg", text)
        return config, [str(HAPROXY), "-db", "-f", str(config)]

    return kind


def nginx(folder: Path, port: int, replicas: Sequence[str]) -> tuple[Path, list[str]]:
    text = (FOLDER / "nginx.conf").read_text().replace("listen 8000", f"listen 127.0.0.1:{port}")
    for number, address in enumerate(replicas, 1):
        text = text.replace(f"replica-{number}:8000", address)
    # A user without root cannot write to the usual places.
    places = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = _written(folder / "nginx.conf", text.replace("http {\n", f"http {{\n{places}"))
    settings = f"daemon off; pid {folder}/nginx.pid;"
    return config, [str(NGINX), "-p", str(folder), "-c", str(config), "-g", settings]


def envoy(folder: Path, port: int, replicas: Sequence[str]) -> tuple[Path, list[str]]:
    found = yaml.safe_load((FOLDER / "envoy.yaml").read_text())["static_resources"]
    (listener,), (cluster,) = found["listeners"], found["clusters"]
    listener["address"] = _socket_address(f"127.0.0.1:{port}")
    (group,) = cluster["load_assignment"]["endpoints"]
    group["lb_endpoints"] = [{"endpoint": {"address": _socket_address(address)}} for address in replicas]
    config = _written(folder / "envoy.yaml", yaml.safe_dump({"static_resources": found}))
    return config, [str(ENVOY), "-c", str(config), "--disable-hot-restart", "--concurrency", "1"]


def traefik(folder: Path, port: int, replicas: Sequence[str]) -> tuple[Path, list[str]]:
    routes = yaml.safe_load((FOLDER / "traefik-replicas.yml").read_text())
    balancer = routes["http"]["services"]["replicas"]["loadBalancer"]
    balancer["servers"] = [{"url": f"http://{address}"} for address in replicas]
    found = yaml.safe_load((FOLDER / "traefik.yml").read_text())
    found["entryPoints"]["clients"]["address"] = f"127.0.0.1:{port}"
    found["providers"]["file"]["filename"] = str(_written(folder / "routes.yml", yaml.safe_dump(routes)))
    config = _written(folder / "traefik.yml", yaml.safe_dump(found))
    return config, [str(TRAEFIK), f"--configFile={config}"]


@asynccontextmanager
async def balancing(
    kind: Kind, folder: Path, port: int, replicas: Sequence[str], *flags: str
) -> AsyncIterator[Balancer]:
    """A load balancer through which the replicas answer.

    Args:
        kind: its configuration and program.
        folder: of its files.
        port: where it listens.
        replicas: host and port of each.
        flags: more of them.
    """
    config, command = kind(folder, port, replicas)
    with (folder / "balancer.log").open("ab") as log:
        process = await trio.lowlevel.open_process([*command, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with trio.fail_after(LIMIT_S):
            while not await _answers(port):  # noqa: ASYNC110 - there is no event
                await trio.sleep(POLL_S)
        yield Balancer(process, config)
    finally:
        # At SIGKILL the workers of nginx would go on.
        process.send_signal(signal.SIGTERM if kind is nginx else signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()


async def replicas_behind(port: int) -> set[str]:
    """Return the names of the replicas that answer the first requests of twenty sessions."""
    found = set()
    for number in range(20):
        async with Call.open(f"http://127.0.0.1:{port}", None, "/version", x_session_id=str(number)) as call:
            assert await call.status() == 200
            found.add(call.headers["x-claude-openai-replica"])
    return found


async def until_behind(port: int, names: set[str]) -> None:
    with trio.fail_after(LIMIT_S):
        while await replicas_behind(port) != names:  # noqa: ASYNC110 - there is no event
            await trio.sleep(POLL_S)


@asynccontextmanager
async def naming(addresses: list[str]) -> AsyncIterator[int]:
    """A name server, to which every name has these IPv4 addresses: its port. The list may change."""
    with trio.socket.socket(type=socket.SOCK_DGRAM) as server:
        await server.bind(("127.0.0.1", 0))

        async def serve() -> None:
            while True:
                query, client = await server.recvfrom(4096)
                end = query.index(b"\0", 12) + 5
                is_ipv4 = query[end - 4 : end - 2] == b"\0\1"
                found = [socket.inet_aton(address) for address in addresses] if is_ipv4 else []
                counts = struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0)
                # A pointer to the name in the question, type and class, seconds to live, length.
                record = struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4)
                answers = b"".join(record + address for address in found)
                await server.sendto(query[:2] + counts + query[12:end] + answers, client)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            try:
                yield int(server.getsockname()[1])
            finally:
                nursery.cancel_scope.cancel()


async def free_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    await listener.aclose()
    return port


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _socket_address(address: str) -> dict[str, Any]:
    host, _, port = address.partition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


async def _answers(port: int) -> bool:
    """Whether a request reaches a replica."""
    try:
        async with Call.open(f"http://127.0.0.1:{port}", None, "/ready") as call:
            return await call.status() == 200
    except (OSError, trio.BrokenResourceError):
        return False
