"""The variables of the server's environment that `claude` inherits, and the reasons.

Claude Code reads about 380 documented variables and a thousand others. Many of them override the flags and control
requests that carry a client's fields: with `CLAUDE_CODE_EFFORT_LEVEL=high` every `reasoning_effort` is high. So a turn
without Claude's own tools gets only the listed variables. A turn with these tools runs the user's builds and tests, so
it gets the user's environment, except for variables that would override a request: Claude Code's own variables are
inherited only if they are listed.

The names are from https://code.claude.com/docs/en/env-vars; undocumented ones are from the program (2.1.332).
"""

from collections.abc import Collection, Mapping
from enum import Enum
from typing import Final

__all__ = ["Reach", "inherited_environment", "named_environment", "reach"]


class Reach(Enum):
    """The turns that a variable of the server's environment reaches."""

    EVERY_TURN = "every turn"
    OWN_TOOLS = "turns with Claude's own tools"
    NO_TURN = "no turn"


# Reason -> names. A `*` matches any rest of a name; the longest matching pattern applies.
_TABLE: Final[Mapping[Reach, Mapping[str, str]]] = {
    Reach.EVERY_TURN: {
        "the user": "HOME USER LOGNAME USERNAME SHELL __CF_USER_TEXT_ENCODING",
        "finding and loading the program": "PATH LD_LIBRARY_PATH NIX_LD*",
        "locale, time, temporary files": "LANG LANGUAGE LC_* TZ TZDIR TMPDIR",
        "storage of logins": """CLAUDE_CONFIG_DIR CLAUDE_SECURESTORAGE_CONFIG_DIR XDG_CONFIG_HOME
            DBUS_SESSION_BUS_ADDRESS""",
        "logins, endpoints, headers, and the models behind the aliases": "ANTHROPIC_*",
        "the login of a Claude account": """CLAUDE_CODE_OAUTH_TOKEN CLAUDE_CODE_OAUTH_REFRESH_TOKEN
            CLAUDE_CODE_OAUTH_SCOPES CLAUDE_CODE_OAUTH_CLIENT_ID CLAUDE_CODE_CUSTOM_OAUTH_URL
            CLAUDE_CODE_API_KEY_HELPER_TTL_MS CLAUDE_CODE_STOP_ON_UNUSABLE_PROFILE CLAUDE_CODE_FEDERATION_CACHE_DIR""",
        "the provider, and the signing of its requests": """CLAUDE_CODE_USE_BEDROCK CLAUDE_CODE_USE_MANTLE
            CLAUDE_CODE_USE_ANTHROPIC_AWS CLAUDE_CODE_USE_VERTEX CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD
            CLAUDE_CODE_USE_FOUNDRY CLAUDE_CODE_USE_GATEWAY CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST
            CLAUDE_CODE_SKIP_BEDROCK_AUTH CLAUDE_CODE_SKIP_MANTLE_AUTH CLAUDE_CODE_SKIP_ANTHROPIC_AWS_AUTH
            CLAUDE_CODE_SKIP_VERTEX_AUTH CLAUDE_CODE_SKIP_ANTHROPIC_GOOGLE_CLOUD_AUTH CLAUDE_CODE_SKIP_FOUNDRY_AUTH
            CLAUDE_CODE_SKIP_AWS_CRED_CACHE CLAUDE_CODE_AWS_CHAIN_RESOLVE_TIMEOUT_MS
            CLAUDE_CODE_DISABLE_AUTH_REFRESH_LOCK CLAUDE_CODE_SKIP_MODEL_ACCESS_MEMORY""",
        "Amazon": "AWS_*",
        "Google": """GOOGLE_* CLOUDSDK_* CLOUD_ML_REGION GCLOUD_PROJECT GCE_METADATA_* METADATA_SERVER_DETECTION
            DETECT_GCP_RETRIES VERTEX_REGION_*""",
        "Microsoft": "AZURE_* IDENTITY_ENDPOINT IDENTITY_HEADER IMDS_ENDPOINT MSI_ENDPOINT MSI_SECRET",
        "limitations of gateways and models": """CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS
            CLAUDE_CODE_DISABLE_STRUCTURED_OUTPUTS DISABLE_INTERLEAVED_THINKING CLAUDE_CODE_ALWAYS_ENABLE_EFFORT
            CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING CLAUDE_CODE_ATTRIBUTION_HEADER
            CLAUDE_CODE_GATEWAY_HINT_HEADERS CLAUDE_CODE_DISABLE_1M_CONTEXT CLAUDE_CODE_MAX_CONTEXT_TOKENS
            CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP CLAUDE_CODE_DISABLE_BEDROCK_CONTENT_TYPE_*""",
        "the cost of prompt caching, for which requests have no field": """DISABLE_PROMPT_CACHING*
            ENABLE_PROMPT_CACHING_1H* FORCE_PROMPT_CACHING_5M CLAUDE_CODE_PROMPT_CACHE_TTL
            CLAUDE_CODE_SUBAGENT_PROMPT_CACHE_TTL""",
        "proxies": """HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy
            CLAUDE_CODE_PROXY_* CLAUDE_CODE_ENABLE_PROXY_AUTH_HELPER""",
        "certificates": """NODE_EXTRA_CA_CERTS NODE_USE_SYSTEM_CA NODE_TLS_REJECT_UNAUTHORIZED SSL_CERT_FILE
            SSL_CERT_DIR NIX_SSL_CERT_FILE CURL_CA_BUNDLE REQUESTS_CA_BUNDLE CLAUDE_CODE_CERT_STORE
            CLAUDE_CODE_CLIENT_CERT CLAUDE_CODE_CLIENT_KEY CLAUDE_CODE_CLIENT_KEY_PASSPHRASE
            CLAUDE_CODE_DISABLE_MTLS_RELOAD_ON_STALE_CONNECTION""",
        "timeouts of connections": """API_TIMEOUT_MS API_FORCE_IDLE_TIMEOUT CLAUDE_STREAM_*
            CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS CLAUDE_ENABLE_STREAM_WATCHDOG CLAUDE_ENABLE_BYTE_WATCHDOG*""",
        "privacy: they only turn off reports of Claude Code": """DISABLE_TELEMETRY DO_NOT_TRACK
            DISABLE_ERROR_REPORTING DISABLE_GROWTHBOOK CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC""",
    },
    Reach.OWN_TOOLS: {
        "builds and tests": "*",
        "commands": """CLAUDE_CODE_SHELL CLAUDE_BASH_MAINTAIN_PROJECT_WORKING_DIR CLAUDE_CODE_BASH_EDIT_DIFF
            CLAUDE_CODE_TOOL_MEMORY_*""",
        "files and the web": """CLAUDE_CODE_GLOB_* CLAUDE_CODE_FILE_READ_MAX_OUTPUT_TOKENS CLAUDE_CODE_PERFORCE_MODE
            CLAUDE_CODE_USE_NATIVE_FILE_SEARCH CLAUDE_CODE_WEBFETCH_* CLAUDE_CODE_MAX_WEB_SEARCHES_PER_SESSION
            CLAUDE_CODE_DISABLE_WEB_FETCH CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS""",
        "sub-agents and concurrent calls": """CLAUDE_CODE_MAX_TOOL_USE_CONCURRENCY
            CLAUDE_CODE_MAX_CONCURRENT_SUBAGENTS CLAUDE_CODE_MAX_SUBAGENT_SPAWN_DEPTH
            CLAUDE_CODE_DISABLE_EXPLORE_PLAN_AGENTS CLAUDE_AGENT_SDK_DISABLE_BUILTIN_AGENTS""",
        "safety: they only restrict Claude Code": """CLAUDE_CODE_RESTRICTED CLAUDE_CODE_SAFE_MODE
            CLAUDE_CODE_SUBPROCESS_ENV_SCRUB CLAUDE_CODE_SCRIPT_CAPS""",
    },
    Reach.NO_TURN: {
        "Claude Code's own, including those of a session that started this server, and the server's own": """CLAUDE*
            CCR_* API_KEY""",
        "telemetry of the server and its key; a turn gets the trace of its request": "OTEL_* TRACEPARENT TRACESTATE",
        "overriding the model, which the request selects": "ANTHROPIC_MODEL ANTHROPIC_DEFAULT_MODEL",
        "overriding the thinking budget, which the request selects": "MAX_THINKING_TOKENS",
        "changing Claude Code's requests": "ANTHROPIC_BETAS USE_API_CONTEXT_MANAGEMENT SYSTEM_REMINDER_MEMORY_CONTEXT",
        "changing the set of tools, or the calls of the client's tools": """EMBEDDED_SEARCH_TOOLS ENABLE_LSP_TOOL
            ENABLE_CLAUDEAI_MCP_SERVERS ENABLE_MCP_LARGE_OUTPUT_FILES MCP_TIMEOUT MCP_TOOL_TIMEOUT
            MCP_CONNECT_TIMEOUT_MS MCP_CONNECTION_NONBLOCKING MCP_DISCOVERY_CACHE* MCP_PROTOCOL_NEGOTIATION
            MCP_SDK_GENERATION MCP_SERVER_CONNECTION_BATCH_SIZE MCP_TRUNCATION_PROMPT_OVERRIDE""",
        "the number of retries": "MAX_STRUCTURED_OUTPUT_RETRIES FALLBACK_FOR_ALL_PRIMARY_MODELS",
        "recording conversations": """ENABLE_SESSION_PERSISTENCE AUTOMODE_DECISION_LOG DEBUG DEBUG_SDK
            DEBUG_CLAUDE_AGENT_SDK""",
        "programs to run inside Claude Code, or before each command": """BUN_OPTIONS BUN_INSPECT* BASH_ENV
            ENV""",
    },
}

_CONFIG_FOLDER: Final = "CLAUDE_CONFIG_DIR"

_BY_NAME: Final = {
    name: found
    for found, rows in _TABLE.items()
    for names in rows.values()
    for name in names.split()
    if name[-1] != "*"
}
_BY_PREFIX: Final = {
    name[:-1]: found
    for found, rows in _TABLE.items()
    for names in rows.values()
    for name in names.split()
    if name[-1] == "*"
}
_LONGEST_FIRST: Final = sorted(_BY_PREFIX, key=len, reverse=True)


def reach(name: str) -> Reach:
    """Return the turns that a variable of this name reaches."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    return _BY_PREFIX[next(prefix for prefix in _LONGEST_FIRST if name.startswith(prefix))]


def named_environment(environ: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Return the variables that `--pass-env` names."""
    return {name: environ[name] for name in names if name in environ}


def inherited_environment(environ: Mapping[str, str], *, own_tools: bool) -> dict[str, str]:
    """Return the variables that a turn inherits.

    Args:
        environ: the server's environment.
        own_tools: whether the turn has Claude's own tools.
    """
    reached = (Reach.EVERY_TURN, Reach.OWN_TOOLS) if own_tools else (Reach.EVERY_TURN,)
    inherited = {name: value for name, value in environ.items() if reach(name) in reached}
    if not inherited.get(_CONFIG_FOLDER):
        # Claude Code reads an empty value as the current folder, which has no login.
        inherited.pop(_CONFIG_FOLDER, None)
    return inherited
