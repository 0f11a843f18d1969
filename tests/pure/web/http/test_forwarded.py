"""The address of a client behind proxies: which of them are believed."""

import pytest

from claude_openai.web.http.forwarded import TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("10.1.2.3", ["192.0.2.1"], "192.0.2.1"),
        ("::1", ["192.0.2.1"], "192.0.2.1"),
        ("11.1.2.3", ["192.0.2.1"], None),
        (None, ["192.0.2.1"], None),
        ("10.1.2.3", [], None),
        ("10.1.2.3", [" , "], None),
        ("10.1.2.3", ["6.6.6.6, 192.0.2.1, 10.9.9.9"], "192.0.2.1"),
        ("10.1.2.3", ["6.6.6.6", "192.0.2.1", "10.9.9.9"], "192.0.2.1"),
        ("10.1.2.3", ["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        ("10.1.2.3", ["192.0.2.1, unknown"], "unknown"),
        ("10.1.2.3", ["x" * 500], "x" * 64),
    ],
)
def test_client_is_the_nearest_hop_that_is_no_trusted_proxy(
    peer: str | None, forwarded: list[str], found: str | None
) -> None:
    headers = [(b"host", b"h"), *((b"X-Forwarded-For", value.encode()) for value in forwarded)]
    assert PROXIES.client_of(peer, [*headers, (b"forwarded", b"for=6.6.6.6")]) == found


def test_clients_of_a_unix_socket_are_believed_only_if_named() -> None:
    headers = [(b"x-forwarded-for", b"192.0.2.1")]
    assert TrustedProxies(["unix"]).client_of(None, headers) == "192.0.2.1"
    assert TrustedProxies(["unix"]).client_of("127.0.0.1", headers) is None
    assert TrustedProxies([]).client_of(None, headers) is None
