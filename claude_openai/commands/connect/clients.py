"""The clients that `connect` supports: the place of each one's configuration, and how to try it.

To add a client, add an entry to `CLIENTS` and a function to `client_texts`.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claude_openai.commands.connect.client_texts import (
    KEY_VARIABLE,
    PROVIDER,
    Target,
    aider_text,
    by_hand_text,
    codex_text,
    continue_text,
    litellm_text,
    llm_text,
    openai_text,
    opencode_text,
    zed_text,
)
from claude_openai.commands.connect.merging import Items

__all__ = ["CLIENTS", "Client", "Places"]


@dataclass(frozen=True, slots=True)
class Places:
    """The folders in which configuration files are.

    Attributes:
        home: the home folder of the user.
        project: the current folder.
        environ: environment variables, which can name other folders.
        is_global: whether to use the user's file if a client has a file for the user and one for the project.
    """

    home: Path
    project: Path
    environ: Mapping[str, str]
    is_global: bool = False

    @property
    def config(self) -> Path:
        return self.folder("XDG_CONFIG_HOME", self.home / ".config")

    def folder(self, variable: str, otherwise: Path) -> Path:
        named = self.environ.get(variable)
        return self.project / named if named else otherwise


@dataclass(frozen=True, slots=True)
class Client:
    """A client.

    Attributes:
        title: its name and kind.
        form: "json", "toml" or "yaml"; "shell" and "text" are only printed.
        text: returns the configuration.
        usage: returns the next steps, one per line.
        place: returns the path of the file.
        own: the path of keys of the part in which existing values are replaced; elsewhere they are kept.
        items: the list of the configuration to which an item is added, if it has one.
    """

    title: str
    form: str
    text: Callable[[Target], str]
    usage: Callable[[Target], list[str]]
    place: Callable[[Places], Path] | None = None
    own: tuple[str, ...] = ()
    items: Items | None = None


def _opencode_place(places: Places) -> Path:
    folder = places.config / "opencode" if places.is_global else places.project
    with_comments = folder / "opencode.jsonc"
    return with_comments if with_comments.exists() else folder / "opencode.json"


def _codex_usage(to: Target) -> list[str]:
    return [
        f'codex exec -c model_provider={PROVIDER} -m {to.model} "Say hello."',
        "To make it the default, put these two lines above the first [table] of that file:",
        f'  model = "{to.model}"',
        f'  model_provider = "{PROVIDER}"',
    ]


def _continue_usage(to: Target) -> list[str]:
    lines = ["Select Claude Code in the list of models in Continue."]
    if to.needs_key:
        lines.append(f"Put {KEY_VARIABLE}=... in ~/.continue/.env (mode 0600), unless your editor has the variable.")
    return lines


def _aider_usage(to: Target) -> list[str]:
    key = [f'export AIDER_OPENAI_API_KEY="${KEY_VARIABLE}"'] if to.needs_key else []
    return [*key, 'aider --no-show-model-warnings --message "Say hello."']


def _llm_usage(to: Target) -> list[str]:
    return [*([f"llm keys set {PROVIDER}"] if to.needs_key else []), 'llm -m claude-code "Say hello."']


def _llm_place(places: Places) -> Path:
    config = places.home / "Library" / "Application Support" if sys.platform == "darwin" else places.config
    return places.folder("LLM_USER_PATH", config / "io.datasette.llm") / "extra-openai-models.yaml"


def _zed_usage(to: Target) -> list[str]:
    # Zed requires a key even if the server does not.
    how = f"Start Zed with {KEY_VARIABLE} set" if to.needs_key else f"{KEY_VARIABLE}=none zed"
    return [how, f"Select the model of {PROVIDER} in the agent panel."]


def _here(name: str) -> Callable[[Places], Path]:
    return lambda places: (places.home if places.is_global else places.project) / name


_OPENCODE_SLOTS: Final = (
    "# A new session sends two requests at once. With the default --max-concurrency 2 a second one waits: start the",
    "# server with --max-concurrency 4 for two sessions at once. Memory: claude-openai help clients",
)

CLIENTS: Final[Mapping[str, Client]] = {
    "opencode": Client(
        "OpenCode, an agent in the terminal",
        "json",
        opencode_text,
        lambda to: [f'opencode run --model claude/{to.model} "Say hello."', *_OPENCODE_SLOTS],
        _opencode_place,
        ("provider", "claude"),
    ),
    "codex": Client(
        "Codex CLI, an agent in the terminal",
        "toml",
        codex_text,
        _codex_usage,
        lambda places: places.folder("CODEX_HOME", places.home / ".codex") / "config.toml",
        ("model_providers", PROVIDER),
    ),
    "continue": Client(
        "Continue, in VS Code and JetBrains",
        "yaml",
        continue_text,
        _continue_usage,
        lambda places: places.home / ".continue" / "config.yaml",
        ("models",),
        Items(("models",), (("name",),)),
    ),
    "aider": Client(
        "Aider, pair programming in the terminal", "yaml", aider_text, _aider_usage, _here(".aider.conf.yml")
    ),
    "llm": Client(
        "llm, prompts on the command line",
        "yaml",
        llm_text,
        _llm_usage,
        _llm_place,
        items=Items((), (("model_id",),)),
    ),
    "zed": Client(
        "Zed, an editor",
        "json",
        zed_text,
        _zed_usage,
        lambda places: places.config / "zed" / "settings.json",
        ("language_models", "openai_compatible", PROVIDER),
    ),
    "litellm": Client(
        "LiteLLM, a proxy",
        "yaml",
        litellm_text,
        lambda _: ["litellm --config litellm_config.yaml"],
        lambda places: places.project / "litellm_config.yaml",
        ("model_list",),
        # A deployment with the same name at another provider is the user's own: it is kept.
        Items(("model_list",), (("model_name",), ("litellm_params", "model"))),
    ),
    "openai": Client(
        "the OpenAI SDKs, and all programs that read their variables",
        "shell",
        openai_text,
        lambda to: ['eval "$(claude-openai connect openai)" in the shell of the program', f"Model: {to.model}"],
    ),
    "cline": Client("Cline, in VS Code", "text", by_hand_text, lambda _: []),
    "roo": Client("Roo Code, in VS Code", "text", by_hand_text, lambda _: []),
}
