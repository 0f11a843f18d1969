"""Which flags of a server may be written down, to start it again."""

import pytest

from claude_openai.commands import without_flags


@pytest.mark.parametrize(
    ("argv", "kept"),
    [
        ("--port 1 --log true", "--port 1 --log true"),
        ("--api-key k --port 1", "--port 1"),
        ("--api-key=k --port=1", "--port=1"),
        ("--background --port 1", "--port 1"),
        ("--port 1 --background true --log false", "--port 1 --log false"),
        ("--background=yes --no-background", ""),
    ],
)
def test_neither_a_key_nor_the_background_is_kept_nor_their_values(argv: str, kept: str) -> None:
    assert without_flags(argv.split()) == tuple(kept.split())
