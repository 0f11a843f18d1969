"""The clients of `versions.toml`: what each is installed from, and which cases it goes through.

What a client cannot do is declared there, with the reason, and never found out by trying: all other cases must be run.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

__all__ = ["APIS", "CASES", "CLIENTS", "EXAMPLES", "HERE", "PIP", "Client"]

HERE: Final = Path(__file__).parent
EXAMPLES: Final = HERE.parent / "examples"
# What every client goes through, and what the documentation calls it.
CASES: Final[Mapping[str, str]] = {
    "text": "Text",
    "stream": "streamed",
    "tools": "Tools",
    "stream_tools": "streamed",
    "structured": "Structured",
    "stream_structured": "streamed",
    "error": "Error",
    "error_in_a_stream": "in a stream",
}
# The ways to a model, what the documentation calls each, and what stands before the names of its cases.
APIS: Final[Mapping[str, tuple[str, str]]] = {
    "chat": ("chat", ""),
    "compatible": ("chat, by `@ai-sdk/openai-compatible`", "compatible_"),
    "openai_chat": ("chat, by `@ai-sdk/openai`", "openai_chat_"),
    "responses": ("Responses", "responses_"),
    "messages": ("Messages", "messages_"),
}


@dataclass(frozen=True)
class Client:
    """One client.

    Attributes:
        script: what drives it.
        apis: those of `APIS` that it speaks.
        cannot: why it cannot do some cases, by a pattern of their names.
        pip: its packages, if it is written in Python.
        npm: its packages, if it is not.
        postinstall: the script of a package that picks the program for the machine; npm runs none.
        python_below: the first version of Python that it does not take.
        example: a test in the documentation that uses it.
    """

    name: str
    script: Path
    apis: tuple[str, ...]
    cannot: Mapping[str, str]
    pip: tuple[str, ...]
    npm: tuple[str, ...]
    postinstall: str | None
    python_below: str | None
    example: Path | None

    def why_not(self, case: str) -> str | None:
        """Why it cannot do a case, or None if it can."""
        return next((reason for pattern, reason in self.cannot.items() if fnmatchcase(case, pattern)), None)

    def cases(self) -> dict[str, bool]:
        """All cases of its APIs, and whether it can do each."""
        names = [APIS[api][1] + case for api in self.apis for case in CASES]
        return {name: self.why_not(name) is None for name in names}

    def complaints(self, run: list[str]) -> list[str]:
        """What is wrong with the list of the cases that were run."""
        missing = [name for name, can in self.cases().items() if can and name not in run]
        impossible = [name for name in run if self.why_not(name)]
        return [
            *(f"{name} was not run, and is not declared as what it cannot do" for name in missing),
            *(f"{name} was run, though it is declared as what it cannot do" for name in impossible),
        ]


def _client(name: str, told: dict[str, Any]) -> Client:
    return Client(
        name,
        HERE / told["script"],
        tuple(told.get("apis", ("chat", "responses"))),
        told.get("cannot", {}),
        tuple(told.get("pip", ())),
        tuple(told.get("npm", ())),
        told.get("postinstall"),
        told.get("python-below"),
        EXAMPLES / told["example"] if "example" in told else None,
    )


_VERSIONS: Final = tomllib.loads((HERE / "versions.toml").read_text("utf-8"))
PIP: Final[str] = _VERSIONS["pip"]
CLIENTS: Final = {name: _client(name, told) for name, told in _VERSIONS.items() if isinstance(told, dict)}
