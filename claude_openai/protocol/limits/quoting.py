"""Quotes values of a request for error messages."""

__all__ = ["SHOWN_CHARS", "shorten"]


def shorten(value: str | float) -> str:
    """Quote a value for an error message: control characters are escaped, and it is cut after `SHOWN_CHARS`."""
    text = repr(value[: SHOWN_CHARS + 1]) if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_CHARS + 2 else f"{text[:SHOWN_CHARS]}..."


SHOWN_CHARS = 80
