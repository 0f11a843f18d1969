"""The short name of a client program."""

import pytest

from claude_openai.web.client_name import client_name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("OpenAI/Python 2.54.0", "OpenAI/Python"),
        ("AsyncOpenAI/JS 4.1", "AsyncOpenAI/JS"),
        ("opencode/1.18.33 ai-sdk/openai-compatible/1.0", "opencode"),
        ("codex_cli_rs/0.169.0 (Debian; x86_64)", "codex_cli_rs"),
        ("curl/8.5.0", "curl"),
        ("Mozilla/5.0 (X11; Linux) Chrome/156", "browser"),
        ("python-httpx/0.27", "python-httpx"),
        ("", ""),
        ("<script>", ""),
        ("\u202eevil", ""),
        ("x" * 10_000, "x" * 40),
    ],
)
def test_it_is_the_first_product_without_its_version(header: str, name: str) -> None:
    assert client_name(header) == name
