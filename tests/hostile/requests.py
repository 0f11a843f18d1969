"""HTTP requests that mean harm."""

import json

from tests.memory.harness import chat

__all__ = ["BODY", "FIELDS", "HOSTILE", "HOSTS", "METHODS", "TARGETS", "get", "post"]


BODY = json.dumps(chat()).encode()


def get(target: bytes = b"/health", *fields: bytes, host: bytes | None = b"localhost", method: bytes = b"GET") -> bytes:
    hosts = [] if host is None else [b"Host: " + host]
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", *hosts, *fields, b"Connection: close", b"", b""])


def post(*fields: bytes, body: bytes = BODY) -> bytes:
    return get(b"/v1/chat/completions", b"Content-Type: application/json", *fields, method=b"POST") + body


HOSTS = [
    b"[::1", b"[", b"]", b"[]:80", b"localhost:99999", b"localhost:abc", b"localhost:", b":80", b"", b" ", b"\xff\xfe",
    b"xn--a.localhost", b"xn--.localhost", b"\xc3\xa4.localhost", b"local host", b"localhost/path", b"localhost?x",
    b"user@localhost", b"localhost,localhost", b"127.0.0.1:8000:9", b"[::1%25lo]", b"%31.localhost", b"\x01.localhost",
    b"a_b.localhost", b"-.localhost", b"127.1", b"[v1.x]", b"localhost.", b"a" * 64 + b".localhost",
]  # fmt: skip
TARGETS = [
    b"http://", b"http:", b"//", b"///", b"*", b"x", b"\x7f", b"/%", b"/%zz", b"/%00", b"/%ff", b"/\xff", b"/#a", b"#",
    b"http://localhost:99999999/health", b"http://localhost:x/health", b"localhost:8000", b"/health?" + b"&" * 5000,
    b"/health?a=%ff", b"/" + b"a" * 60_000, b"/v1/models/%00", b"/v1/models/%ff%fe", b"/v1/models/..%2f..%2f", b"/..",
    b"/control/runs/%00", b"/control/runs?limit=%00", b"http://[v1.fe80]/", b"\\", b"http:////", b"%2fhealth", b"@",
    b"http://localhost:/health", b"//[/health", b"//[x]/health", b"//localhost/health", b"&", b";", b"", b" ",
]  # fmt: skip
METHODS = [b"get", b"GE T", b"CONNECT", b"TRACE", b"PROPFIND", b"A" * 5000, b"\xff", b"PUT", b"__", b"", b"PRI"]
FIELDS = [
    b"Content-Length: x", b"Content-Length: -1", b"Content-Length: 1, 2", b"Content-Length: 99999999999999999999999",
    b"Transfer-Encoding: \xff", b"Transfer-Encoding: chunked\r\nContent-Length: 3", b"Expect: nonsense",
    b"Cookie: \xff=;;;=",
    b'Cookie: a="\\777"; $Version=x', b"Authorization: \xff", b"Authorization: Basic !!!", b'Authorization: Digest a="',
    b"Content-Type: \xff/\xff; charset=\xff", b"Content-Type: multipart/form-data", b"Origin: \xff", b"Origin: http://[",
    b"Origin: null", b"Forwarded: for=\"[", b"X-Client-Request-Id: \xff", b"Upgrade: websocket", b"Connection: \xff",
    b": x", b"A", b" folded", b"A: \x00", b"A: \x80", b"Host: localhost", b"Access-Control-Request-Method: \xff",
    b"Content-Encoding: gzip", b"X: " + b"a" * 200_000, b"Range: bytes=\xff", b"If-None-Match: \"", b"Date: \xff",
]  # fmt: skip
HOSTILE = [
    *(get(host=host) for host in HOSTS),
    *(get(target) for target in TARGETS),
    *(get(method=method) for method in METHODS),
    *(get(b"/v1/models", field) for field in FIELDS),
    *(post(b"Content-Length: %d" % len(BODY), field) for field in FIELDS),
    *(b"GET /health HTTP/" + version + b"\r\n\r\n" for version in (b"0.9", b"1", b"1.2", b"3.0", b"", b"x")),
]
