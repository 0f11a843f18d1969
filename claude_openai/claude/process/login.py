"""Reads the output of `claude auth status`: whether Claude Code has a login.

The command only looks at what is stored or set: it makes no request to Claude, so an expired or revoked login counts
as found. Its output has the account's name and e-mail address, which are not kept.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

__all__ = ["LOGIN_ARGUMENTS", "UNCHECKED_LOGIN", "UNKNOWN_LOGIN", "Login", "LoginState", "parse_login"]

LOGIN_ARGUMENTS: Final = ("auth", "status", "--json")

# With these a request may carry a login that Claude Code does not know of.
_OTHER_LOGINS: Final = ("ANTHROPIC_CUSTOM_HEADERS", "CLAUDE_CODE_USE_GATEWAY", "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST")
_METHODS: Final = {
    "oauth_token": "a token of CLAUDE_CODE_OAUTH_TOKEN or ANTHROPIC_AUTH_TOKEN",
    "claude.ai": "the login of a Claude account",
}


class LoginState(Enum):
    """The login; UNCHECKED until it was looked up, UNKNOWN if Claude Code does not report it."""

    UNCHECKED = "unchecked"
    FOUND = "found"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Login:
    """The login of Claude Code.

    Attributes:
        state: whether there is one.
        method: its kind, without the identity of the account; "" unless it was found.
    """

    state: LoginState
    method: str = ""


UNCHECKED_LOGIN: Final = Login(LoginState.UNCHECKED)
UNKNOWN_LOGIN: Final = Login(LoginState.UNKNOWN)


def parse_login(output: str, env: Mapping[str, str]) -> Login:
    """Parse the output of `claude auth status --json`; a login of unknown form is unknown, never missing.

    Args:
        output: the standard output.
        env: the environment of the command.
    """
    try:
        status = json.loads(output)
    except (ValueError, RecursionError):
        return UNKNOWN_LOGIN
    logged_in = status.get("loggedIn") if isinstance(status, dict) else None
    if logged_in is True:
        return Login(LoginState.FOUND, _method(status))
    if logged_in is False and not any(env.get(name) for name in _OTHER_LOGINS):
        return Login(LoginState.MISSING)
    return UNKNOWN_LOGIN


def _method(status: Mapping[str, Any]) -> str:
    method = str(status.get("authMethod", ""))
    if method == "api_key":
        return f"an API key of {status.get('apiKeySource') or 'Claude Code'}"
    if method == "third_party":
        return f"the account of {status.get('apiProvider')}"
    return _METHODS.get(method, method or "logged in")
