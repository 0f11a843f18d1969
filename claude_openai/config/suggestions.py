"""Suggestions for mistyped words."""

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The hint "did you mean X?" for the known word that is closest; "" if none is close."""
    from difflib import get_close_matches  # loaded for an error only

    # Without the hyphens: they alone would make short flags look alike.
    by_name = {name.lstrip("-").lower(): name for name in known}
    closest = get_close_matches(word.lstrip("-").lower(), by_name, n=1)
    return f"did you mean {by_name[closest[0]]}?" if closest else ""
