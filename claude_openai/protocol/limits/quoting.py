"""Values of a request, quoted in error messages."""

__all__ = ["SHOWN_CHARS", "shorten"]


def shorten(value: str | float) -> str:
    """The value in quotes for an error message, control characters escaped, cut after `SHOWN_CHARS` characters."""
    text = repr(value[: SHOWN_CHARS + 1]) if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_CHARS + 2 else f"{text[:SHOWN_CHARS]}..."


SHOWN_CHARS = 80
