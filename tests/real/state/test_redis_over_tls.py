"""The store on a real Redis over TLS, whose certificate is checked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from claude_openai.state.store import StateError
from tests.real.balancers import free_port
from tests.real.redis_server import coredis_warnings, needs_redis, redis_serving
from tests.real.state.test_redis import HOUR, connected, patient

pytestmark = [needs_redis, coredis_warnings]
__all__ = ["patient"]


@asynccontextmanager
async def redis_with_a_certificate_of(authority: trustme.CA, folder: Path) -> AsyncIterator[int]:
    """A Redis whose certificate is for `localhost`: its port."""
    names = [folder / name for name in ("cert.pem", "key.pem", "ca.pem")]
    issued = authority.issue_cert("localhost")
    for path, pem in zip(names, (issued.cert_chain_pems[0], issued.private_key_pem, authority.cert_pem), strict=True):
        pem.write_to_path(path)
    port = await free_port()
    settings = ("--tls-cert-file", "--tls-key-file", "--tls-ca-cert-file")
    files = [word for pair in zip(settings, map(str, names), strict=True) for word in pair]
    async with redis_serving(folder, "--tls-port", str(port), "--tls-auth-clients", "no", *files):
        yield port


async def test_values_are_stored_over_tls_if_the_authority_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with (
        redis_with_a_certificate_of(authority, tmp_path) as port,
        connected(f"rediss://localhost:{port}/1") as store,
    ):
        await store.put({"a": b"1"}, HOUR)
        assert await store.get(["a"], HOUR) == [b"1"]


@pytest.mark.parametrize(
    ("host", "trusted", "reason"),
    [("localhost", False, "self-signed certificate"), ("127.0.0.1", True, "IP address mismatch")],
)
async def test_nothing_is_sent_to_a_redis_with_a_wrong_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool, reason: str
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with (
        redis_with_a_certificate_of(trustme.CA(), tmp_path) as port,
        connected(f"rediss://{host}:{port}/1") as store,
    ):
        assert reason in store.problem
        with pytest.raises(StateError, match=reason):
            await store.put({"a": b"1"}, HOUR)
