"""Claude Code's own permission rules for a process with tools: a second wall, independent of the hook.

Claude Code applies deny rules before it calls a hook, in every permission mode and with links resolved. `Edit` needs
that: it reads the file before the hook is called, and in `bypassPermissions` its error reveals whether a guess at the
content was right. So the usual places of secrets are denied by rules too. An ask rule for `git` covers spellings that
only a shell parser recognizes.

Pure: paths in, rules out. In a rule, `//` begins an absolute path, and a folder stands for everything in it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, TypeAlias

from claude_openai.protocol.turn.claude_options import ClaudeOptions

__all__ = ["SECRETS_OF_HOME", "Secret", "Secrets", "permission_rules", "secrets_of_user"]

# A folder, and a path inside of it that may contain `*`; "" for the folder itself.
Secret: TypeAlias = tuple[str, str]

SECRETS_OF_HOME: Final = (
    *(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker/config.json", ".config/gcloud", ".config/gh", ".config/op"),
    *(".netrc", ".git-credentials", ".npmrc", ".pypirc", ".pgpass", ".password-store", ".local/share/keyrings"),
    *(".vault-token", ".terraform.d", ".config/claude", ".claude.json", ".claude-openai/environment"),
)
# In Claude Code's own folder. Not `plans` and `projects/*/*/tool-results`: deny rules cannot have exceptions, and there
# Claude Code's tools write plans and read long results.
_OF_CLAUDE_CODE: Final = (
    *(".credentials.json", ".claude.json", "backups", "history.jsonl", "settings.json", "settings.local.json"),
    *("projects/*/*.jsonl", "projects/*/memory", "projects/*/*/subagents", "file-history", "paste-cache", "plugins"),
    *("sessions", "session-env", "shell-snapshots", "todos", "tasks", "debug", "telemetry", "uploads"),
)
# Escaping these with a backslash does not work in all cases (2.1.332); `?` matches any one character.
_WILD: Final = re.compile(r"[\\*?\[\](){}!#]")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What Claude Code's own tools must not read or change.

    Attributes:
        of_server: secrets of the server.
        of_user: secrets of its user; not protected inside an allowed folder if `are_folders_named`.
        are_folders_named: the allowed folders were configured, so the default, the current folder, does not apply.
    """

    of_server: tuple[Secret, ...] = ()
    of_user: tuple[Secret, ...] = ()
    are_folders_named: bool = False


def secrets_of_user(home: str, config: str) -> tuple[Secret, ...]:
    """Return the usual places of secrets.

    Args:
        home: HOME of the process.
        config: the configuration folder of the process.
    """
    usual = f"{home}/.claude"
    # A process with another configuration folder needs no file in the usual one.
    of_claude_code = [(config, name) for name in _OF_CLAUDE_CODE] + ([] if config == usual else [(usual, "")])
    return (*of_claude_code, *((home, name) for name in SECRETS_OF_HOME))


def permission_rules(options: ClaudeOptions, secrets: Secrets) -> dict[str, list[str]]:
    """Return the `permissions` object of Claude Code's settings."""
    # Deny rules cannot have exceptions, so a place that contains an allowed folder gets none.
    kept = [secret for secret in _kept(options, secrets) if not _is_inside(options, secret)]
    rules = {"deny": [f"{tool}(/{_pattern(secret)})" for secret in kept for tool in ("Read", "Edit")]}
    if options.permission_mode != "bypassPermissions":
        rules["ask"] = ["Bash(git)", "Bash(git *)"]
    return rules


def _kept(options: ClaudeOptions, secrets: Secrets) -> Iterator[Secret]:
    yield from secrets.of_server
    for folder, name in secrets.of_user:
        path = PurePosixPath(folder, name)
        if not (secrets.are_folders_named and any(path.is_relative_to(root.path) for root in options.roots)):
            yield folder, name


def _is_inside(options: ClaudeOptions, secret: Secret) -> bool:
    return any(PurePosixPath(root.path).is_relative_to(PurePosixPath(*secret)) for root in options.roots)


def _pattern(secret: Secret) -> str:
    folder, name = secret
    literal = _WILD.sub("?", folder)
    return f"{literal}/{name}" if name else literal
