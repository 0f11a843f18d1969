"""The user at the other end of a connection, from the kernel's list of sockets."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from claude_openai.web.http.peer import _owner, uid_of_peer
from tests.conditions import needs

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
CLIENT, SERVER = ("127.0.0.1", 50000), ("127.0.0.1", 8000)
V4 = ("0100007F:C350", "0100007F:1F40")
MAPPED = ("0000000000000000FFFF00000100007F:C350", "0000000000000000FFFF00000100007F:1F40")
V6 = ("00000000000000000000000001000000:C350", "00000000000000000000000001000000:1F40")

little_endian = needs("little-endian")


def line(ends: tuple[str, str], uid: int, *, state: str = "01", inode: int = 135954) -> str:
    return f"   0: {ends[0]} {ends[1]} {state} 00000000:00000000 00:00000000 00000000 {uid:5}        0 {inode} 1 0 20\n"


@little_endian
def test_client_process_is_found_by_its_connected_socket() -> None:
    ours = line((V4[1], V4[0]), 7)
    others = [line(("0100007F:C351", V4[1]), 8), line((V4[0], "0100007F:1F41"), 9), line(("0200007F:C350", V4[1]), 6)]
    assert _owner([HEAD, ours, *others, line(V4, 1000)], CLIENT, SERVER) == 1000
    assert _owner([HEAD, ours, *others], CLIENT, SERVER) is None
    assert _owner([], CLIENT, SERVER) is None


@little_endian
def test_a_socket_for_ipv6_may_be_connected_to_an_ipv4_address() -> None:
    assert _owner([HEAD, line(MAPPED, 1000)], CLIENT, SERVER) == 1000
    mapped = tuple((f"::ffff:{host}", port) for host, port in (CLIENT, SERVER))
    for ends in (V4, MAPPED):
        assert _owner([HEAD, line(ends, 1000)], *mapped) == 1000
    assert _owner([HEAD, line(V6, 1000)], ("::1", 50000), ("::1", 8000)) == 1000
    assert _owner([HEAD, line(V6, 1000)], CLIENT, SERVER) is None


@little_endian
@pytest.mark.parametrize(
    ("state", "inode", "known"),
    [("01", 5, True), ("04", 5, True), ("05", 5, True), ("01", 0, False), ("06", 0, False), ("02", 5, False)],
)
def test_only_an_open_socket_of_a_process_names_its_user(state: str, inode: int, known: bool) -> None:
    # TIME_WAIT, and what was closed, are listed as root's.
    owner = _owner([HEAD, line(V4, 0, state=state, inode=inode)], CLIENT, SERVER)
    assert owner == (0 if known else None)


@contextmanager
def connected(family: socket.AddressFamily, to: str, listens: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, the client's first."""
    with socket.socket(socket.AF_INET6 if ":" in listens else socket.AF_INET) as listener:
        listener.bind((listens, 0))
        listener.listen()
        with socket.socket(family) as client:
            client.settimeout(60)
            client.connect((to, listener.getsockname()[1]))
            with listener.accept()[0] as server:
                yield client, server


def uid_seen(server: socket.socket) -> int | None:
    (client_host, client_port, *_), (host, port, *_) = server.getpeername(), server.getsockname()
    return uid_of_peer((client_host, client_port), (host, port))


@needs("/proc/PID/fd")
@pytest.mark.parametrize(
    ("family", "to", "listens"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        pytest.param(socket.AF_INET6, "::ffff:127.0.0.1", "127.0.0.1", marks=needs("IPv6")),
        pytest.param(socket.AF_INET6, "::1", "::1", marks=needs("IPv6")),
    ],
)
def test_the_kernel_knows_this_user(family: socket.AddressFamily, to: str, listens: str) -> None:
    with connected(family, to, listens) as (client, server):
        assert uid_seen(server) == os.getuid()
        client.shutdown(socket.SHUT_WR)
        assert uid_seen(server) == os.getuid()
        client.close()
        assert uid_seen(server) is None


def test_user_of_a_peer_is_unknown_where_it_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert uid_of_peer(("192.0.2.1", 5), ("192.0.2.2", 6)) is None
    assert uid_of_peer(("not an address", 5), ("127.0.0.1", 6)) is None
    monkeypatch.setattr(sys, "platform", "darwin")
    with connected(socket.AF_INET, "127.0.0.1", "127.0.0.1") as (_, server):
        assert uid_seen(server) is None


@needs("/proc/PID/fd")
def test_a_user_that_this_namespace_does_not_map_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from claude_openai.web.http import peer

    monkeypatch.setattr(peer, "_owner", lambda *_: 65534)
    assert uid_of_peer(CLIENT, SERVER) is None
