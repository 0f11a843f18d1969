"""The output of `claude auth status` (2.1.332) is read without the identity of the account and without false alarm."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.claude.process.login import UNKNOWN_LOGIN, Login, LoginState, parse_login

NONE = {"loggedIn": False, "authMethod": "none", "apiProvider": "firstParty", "loginExpiresAt": None}
ACCOUNT = {"loggedIn": True, "authMethod": "claude.ai", "email": "ann@example.com", "orgName": "Ann's", "orgId": "o-1"}
TOKEN = "a token of CLAUDE_CODE_OAUTH_TOKEN or ANTHROPIC_AUTH_TOKEN"


@pytest.mark.parametrize(
    ("status", "login"),
    [
        (NONE, Login(LoginState.MISSING)),
        (ACCOUNT, Login(LoginState.FOUND, "the login of a Claude account")),
        ({"loggedIn": True, "authMethod": "oauth_token"}, Login(LoginState.FOUND, TOKEN)),
        (
            {"loggedIn": True, "authMethod": "api_key", "apiKeySource": "ANTHROPIC_API_KEY"},
            Login(LoginState.FOUND, "an API key of ANTHROPIC_API_KEY"),
        ),
        ({"loggedIn": True, "authMethod": "api_key_helper"}, Login(LoginState.FOUND, "api_key_helper")),
        (
            {"loggedIn": True, "authMethod": "third_party", "apiProvider": "bedrock"},
            Login(LoginState.FOUND, "the account of bedrock"),
        ),
    ],
)
def test_login_is_found_or_missing_with_its_kind_alone(status: dict[str, Any], login: Login) -> None:
    assert parse_login(json.dumps(status, indent=2) + "\n", {}) == login
    assert "ann" not in repr(parse_login(json.dumps(status), {})).lower()


@pytest.mark.parametrize(
    "output",
    [
        "",
        "Not logged in\n",
        "null",
        "[]",
        "{}",
        '{"loggedIn": null}',
        '{"loggedIn": 0}',
        '{"loggedIn": false',
        "[" * 9999,
    ],
)
def test_login_of_unknown_output_is_unknown(output: str) -> None:
    assert parse_login(output, {}) == UNKNOWN_LOGIN


@pytest.mark.parametrize("name", ["ANTHROPIC_CUSTOM_HEADERS", "CLAUDE_CODE_USE_GATEWAY"])
def test_login_that_a_header_or_a_gateway_may_add_is_not_missing(name: str) -> None:
    assert parse_login(json.dumps(NONE), {name: "x"}) == UNKNOWN_LOGIN
    assert parse_login(json.dumps(NONE), {name: ""}).state is LoginState.MISSING


@given(st.text())
def test_any_output_is_read(output: str) -> None:
    assert parse_login(output, {}).state is LoginState.UNKNOWN
