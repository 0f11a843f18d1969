"""Which of the server's variables reach a turn: the table, and what it means."""

from pathlib import Path

import pytest

from claude_openai.claude.process.command_line import claude_environment, stand_in_environment
from claude_openai.claude.process.environment import _BY_NAME, Reach, inherited_environment, reach

LOGIN = (
    *("HOME", "CLAUDE_CONFIG_DIR", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    *("ANTHROPIC_PROFILE", "ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_DEFAULT_SONNET_MODEL"),
    *("CLAUDE_CODE_USE_BEDROCK", "ANTHROPIC_BEDROCK_BASE_URL", "CLAUDE_CODE_SKIP_BEDROCK_AUTH", "AWS_PROFILE"),
    *("AWS_REGION", "AWS_BEARER_TOKEN_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "ANTHROPIC_VERTEX_PROJECT_ID"),
    *("CLOUD_ML_REGION", "GOOGLE_APPLICATION_CREDENTIALS", "VERTEX_REGION_CLAUDE_5_SONNET", "CLOUDSDK_CONFIG"),
    *("CLAUDE_CODE_USE_FOUNDRY", "ANTHROPIC_FOUNDRY_RESOURCE", "AZURE_CLIENT_ID"),
)
NETWORK = (
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "CLAUDE_CODE_CLIENT_CERT"),
    *("CLAUDE_CODE_CLIENT_KEY", "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE", "API_TIMEOUT_MS", "DISABLE_TELEMETRY"),
)
PLACE = ("PATH", "USER", "SHELL", "LANG", "LC_ALL", "LC_SOMETHING", "TZ")
BUILD = ("EDITOR", "JAVA_HOME", "NODE_OPTIONS", "MAKEFLAGS", "SSH_AUTH_SOCK", "CI", "XDG_RUNTIME_DIR", "BUN_INSTALL")
OWN_TOOLS = ("CLAUDE_CODE_SHELL", "CLAUDE_CODE_GLOB_NO_IGNORE", "BASH_DEFAULT_TIMEOUT_MS", "CLAUDE_CODE_RESTRICTED")
OVERRIDING = (
    *("CLAUDE_CODE_EFFORT_LEVEL", "MAX_THINKING_TOKENS", "CLAUDE_CODE_DISABLE_THINKING", "CLAUDE_CODE_EXTRA_BODY"),
    *("ANTHROPIC_BETAS", "ANTHROPIC_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL", "CLAUDE_CODE_MAX_OUTPUT_TOKENS"),
    *("CLAUDE_CODE_DISABLE_ADAPTIVE_THINKING", "CLAUDE_CODE_MAX_TURNS", "CLAUDE_AGENT_SDK_MCP_NO_PREFIX"),
    *("MCP_TOOL_TIMEOUT", "CLAUDE_CODE_RESUME_PROMPT", "CLAUDE_CODE_EXIT_AFTER_STOP_DELAY"),
    *("CLAUDE_CODE_FORCE_SESSION_PERSISTENCE", "MAX_STRUCTURED_OUTPUT_RETRIES", "CLAUDE_CODE_RETRY_WATCHDOG"),
    *("BUN_OPTIONS", "BUN_INSPECT_PRELOAD", "BASH_ENV", "ENV", "CLAUDE_CODE_SHELL_PREFIX", "CLAUDE_ENV_FILE"),
    *("CLAUDE_CODE_PLUGIN_DIRS", "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD", "CLAUDE_CODE_UNKNOWN_YET"),
)
ANOTHER_SESSION = (
    *("CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_CHILD_SESSION", "CLAUDE_CODE_MESSAGING_SOCKET"),
    *("CLAUDE_CODE_SSE_PORT", "CLAUDE_CODE_SIMPLE", "CLAUDE_PID", "CLAUDE_EFFORT", "CLAUDE_CODE_REMOTE"),
)
TELEMETRY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME", "TRACEPARENT")
SERVER = (*TELEMETRY, "API_KEY", "DEBUG", "CLAUDE_OPENAI_API_KEY", "CLAUDE_OPENAI_ANYTHING", "CLAUDE_COMMAND")
REACHES = {
    **dict.fromkeys((*LOGIN, *NETWORK, *PLACE), Reach.EVERY_TURN),
    **dict.fromkeys((*BUILD, *OWN_TOOLS), Reach.OWN_TOOLS),
    **dict.fromkeys((*OVERRIDING, *ANOTHER_SESSION, *SERVER), Reach.NO_TURN),
}


@pytest.mark.parametrize(("name", "expected"), REACHES.items(), ids=REACHES)
def test_a_variable_reaches_the_turns_that_may_have_it(name: str, expected: Reach) -> None:
    assert reach(name) is expected
    environ = {name: "value"}
    assert inherited_environment(environ, own_tools=False) == (environ if expected is Reach.EVERY_TURN else {})
    assert inherited_environment(environ, own_tools=True) == ({} if expected is Reach.NO_TURN else environ)


@pytest.mark.parametrize("own_tools", [False, True])
def test_an_empty_folder_for_settings_is_none(own_tools: bool) -> None:
    # Claude Code would take the current folder.
    assert inherited_environment({"CLAUDE_CONFIG_DIR": "", "HOME": "/home/me"}, own_tools=own_tools) == {
        "HOME": "/home/me"
    }


def test_no_variable_of_a_provider_leads_a_stand_in_elsewhere(tmp_path: Path) -> None:
    providers = {name for name in _BY_NAME if name.startswith("CLAUDE_CODE_USE_") and reach(name) is Reach.EVERY_TURN}
    environ = dict.fromkeys(providers, "1")
    extra = stand_in_environment("http://127.0.0.1:1", tmp_path)
    env = claude_environment(environ, extra=extra, cwd=tmp_path)
    assert len(providers) > 5
    assert {name: env[name] for name in providers} == dict.fromkeys(providers, "")
