"""Suggestions for mistyped words."""

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the hint "did you mean X?" with the most similar known word; "" if none is similar."""
    from difflib import get_close_matches  # imported only for an error

    # Compared without hyphens, which would make short flags similar to each other.
    by_name = {name.lstrip("-").lower(): name for name in known}
    closest = get_close_matches(word.lstrip("-").lower(), by_name, n=1)
    return f"did you mean {by_name[closest[0]]}?" if closest else ""
