"""The short name of a client program, from its User-Agent header."""

import re
from typing import Final

__all__ = ["client_name"]

MAX_CHARS: Final = 40
_PRODUCT: Final = re.compile(r"[\w.+@/-]+", re.ASCII)
_VERSION: Final = re.compile(r"/v?\d[^/]*$")


def client_name(user_agent: str) -> str:
    """Return the first product of the header without its version, "" if there is none."""
    product = _PRODUCT.match(user_agent[:256])
    if product is None:
        return ""
    name = _VERSION.sub("", product[0])
    return "browser" if name == "Mozilla" else name[:MAX_CHARS]
