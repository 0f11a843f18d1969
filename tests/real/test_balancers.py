"""The other load balancers of docker/replicas in short, and the manifests for Kubernetes."""

import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
import yaml

from claude_openai.testing import Hang, MessagesApi, RecordedRequest, Reply
from tests.conditions import KUBERNETES_VALIDATE, needs
from tests.real.balancers import (
    FOLDER,
    Kind,
    balancing,
    envoy,
    free_port,
    haproxy,
    haproxy_by_name,
    naming,
    nginx,
    replicas_behind,
    traefik,
    until_behind,
)
from tests.real.call import Call, chat
from tests.real.command import Command, running
from tests.real.harness import LIMIT_S, needs_claude
from tests.real.replica_traffic import Traffic, answer

FLAGS: Final = ("--spares", "0", "--max-idle-sessions", "6", "--max-concurrency", "4")
LAME_DUCK: Final = ("--lame-duck-ms", "6000")
OTHERS: Final = [pytest.param(kind, marks=needs(kind.__name__), id=kind.__name__) for kind in (nginx, envoy, traefik)]
ALL: Final = [pytest.param(haproxy, marks=needs("haproxy"), id="haproxy"), *OTHERS]


def addresses(replicas: list[Command]) -> list[str]:
    return [each.url.removeprefix("http://") for each in replicas]


@needs_claude
@pytest.mark.long
@pytest.mark.parametrize("kind", OTHERS)
async def test_no_turn_is_lost_or_paid_twice_while_replicas_end(kind: Kind, tmp_path: Path) -> None:
    port = await free_port()
    traffic = Traffic(f"http://127.0.0.1:{port}", conversations=12, keeps_cookies=kind is traefik)
    async with MessagesApi.serving(answer) as api, AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(running(tmp_path / name, *FLAGS, *LAME_DUCK, "--replica", name, api=api))
            for name in ("a", "b", "c")
        ]
        balancer = await stack.enter_async_context(balancing(kind, tmp_path, port, addresses(replicas)))
        # Each replica that joins later takes conversations from the others.
        await until_behind(port, {"a", "b", "c"})
        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(traffic.converse)
                await traffic.reached(traffic.total * 4 // 10)
                traffic.moved = True
                replicas[0].send(signal.SIGKILL)
                await replicas[0].process.wait()
                await traffic.reached(traffic.total * 6 // 10)
                begun = sum(traffic.repeats.values())
                if kind is nginx:  # it asks no replica whether it is ready
                    server = f"server {addresses(replicas)[1]}"
                    balancer.config.write_text(balancer.config.read_text().replace(server, f"{server} down"))
                    balancer.process.send_signal(signal.SIGHUP)
                replicas[1].send(signal.SIGTERM)
                await replicas[1].process.wait()
                assert (sum(traffic.repeats.values()), traffic.refusals) == (begun, 0)
        assert replicas[1].process.returncode == 0
        traffic.check(api)


@needs_claude
@pytest.mark.long
@pytest.mark.parametrize("kind", ALL)
async def test_events_come_at_once_and_a_client_that_leaves_ends_its_turn(kind: Kind, tmp_path: Path) -> None:
    port = await free_port()
    async with (
        running(tmp_path / "a", *FLAGS, reply=lambda _: Reply("first", Hang())) as replica,
        balancing(kind, tmp_path, port, [*addresses([replica])] * 3),
    ):
        with trio.fail_after(LIMIT_S):
            async with Call.open(f"http://127.0.0.1:{port}", chat("Hi", stream=True)) as call:
                assert await call.status() == 200
                await call.until_text("first")
            while await free_slots(replica) < 4:  # noqa: ASYNC110 - there is no event
                await trio.sleep(0.1)


async def free_slots(replica: Command) -> int:
    async with Call.open(replica.url, None, "/ready") as call:
        _, found = await call.answer(validated=False)
        free: int = found["slots"]["free"]
        return free


@asynccontextmanager
async def three_replicas(kind: Kind, folder: Path) -> AsyncIterator[int]:
    """A load balancer that knows replicas `a`, `b` and `c`: its port."""
    port = await free_port()
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(running(folder / name, *FLAGS, "--replica", name)) for name in "abc"
        ]
        await stack.enter_async_context(balancing(kind, folder, port, addresses(replicas)))
        await until_behind(port, {"a", "b", "c"})
        yield port


async def replica_of(port: int, **headers: str) -> tuple[str, str]:
    """The replica that answers a request, and the cookie that comes with the answer, or "" for none."""
    async with Call.open(f"http://127.0.0.1:{port}", None, "/version", **headers) as call:
        assert await call.status() == 200
        return call.headers["x-claude-openai-replica"], call.headers.get("set-cookie", "").partition(";")[0]


@needs_claude
@pytest.mark.long
@pytest.mark.parametrize("kind", [each for each in ALL if each.id != "traefik"])
async def test_requests_of_one_key_without_a_session_go_to_one_replica(kind: Kind, tmp_path: Path) -> None:
    async with three_replicas(kind, tmp_path) as port:
        for header, value in (("authorization", "Bearer {}"), ("x_api_key", "{}")):
            found = [{(await replica_of(port, **{header: value.format(key)}))[0] for _ in range(3)} for key in range(9)]
            assert {len(each) for each in found} == {1}
            assert len(set.union(*found)) > 1


@needs_claude
@pytest.mark.long
@pytest.mark.parametrize("kind", [each for each in ALL if each.id in ("haproxy", "traefik")])
async def test_client_that_keeps_cookies_stays_at_its_replica_with_any_key(kind: Kind, tmp_path: Path) -> None:
    async with three_replicas(kind, tmp_path) as port:
        first, cookie = await replica_of(port)
        assert cookie
        others = {(await replica_of(port, cookie=cookie, authorization=f"Bearer {key}"))[0] for key in range(9)}
        assert others == {first}


@needs_claude
@needs("haproxy")
@pytest.mark.long
async def test_haproxy_finds_the_replicas_of_a_name_as_they_come_and_go(tmp_path: Path) -> None:
    port, shared = await free_port(), await free_port()
    names = {"a": "127.0.0.2", "b": "127.0.0.3", "c": "127.0.0.4"}
    listed = [names["a"], names["b"]]

    def replica(name: str) -> AbstractAsyncContextManager[Command]:
        flags = ("--replica", name, "--host", names[name], "--port", str(shared), *LAME_DUCK)
        return running(tmp_path / name, *FLAGS, *flags)

    async with (
        naming(listed) as name_server,
        replica("a") as a,
        replica("b"),
        replica("c"),
        balancing(haproxy_by_name(name_server), tmp_path, port, [f"replica.test:{shared}"]),
    ):
        with trio.fail_after(LIMIT_S):
            await until_behind(port, {"a", "b"})
            listed.append(names["c"])
            await until_behind(port, {"a", "b", "c"})
            a.send(signal.SIGTERM)
            # A container that is asked to stop keeps its name until it has ended.
            while a.process.poll() is None:
                await replicas_behind(port)
            listed.remove(names["a"])
            assert await replicas_behind(port) == {"b", "c"}


@needs_claude
@needs("envoy")
@pytest.mark.long
async def test_envoy_repeats_what_a_replica_refused(tmp_path: Path) -> None:
    """Its checks come too late here."""

    def hangs(request: RecordedRequest) -> Reply:
        return Reply("first", Hang()) if request.last_user_text == "hang" else Reply("ok")

    def without_checks(folder: Path, port: int, replicas: Sequence[str]) -> tuple[Path, list[str]]:
        config, command = envoy(folder, port, replicas)
        found = yaml.safe_load(config.read_text())
        found["static_resources"]["clusters"][0]["health_checks"][0]["interval"] = "3600s"
        config.write_text(yaml.safe_dump(found))
        return config, command

    port = await free_port()
    url = f"http://127.0.0.1:{port}"
    async with (
        MessagesApi.serving(hangs) as api,
        running(tmp_path / "a", *FLAGS, "--replica", "a", api=api) as a,
        running(tmp_path / "b", *FLAGS, "--replica", "b", api=api) as b,
        balancing(without_checks, tmp_path, port, addresses([a, b])),
    ):
        with trio.fail_after(LIMIT_S):
            async with Call.open(url, chat("hang", stream=True), x_session_id="one") as running_call:
                assert await running_call.status() == 200
                name = running_call.headers["x-claude-openai-replica"]
                draining = {"a": a, "b": b}[name]
                draining.send(signal.SIGTERM)
                await draining.is_stopping()
                async with Call.open(draining.url, chat("Hi")) as direct:
                    assert await direct.status() == 503
                    assert direct.headers["x-claude-openai-started"] == "no"
                async with Call.open(url, chat("Hi"), x_session_id="one") as call:
                    assert await call.status() == 200
                    assert call.headers["x-claude-openai-replica"] != name
            await draining.process.wait()


@pytest.mark.long
@needs("kubernetes-validate")
def test_manifests_fit_the_schemas_of_kubernetes() -> None:
    files = sorted((FOLDER / "kubernetes").glob("*.yaml"))
    command = [str(KUBERNETES_VALIDATE), "--strict", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(files) == 4
