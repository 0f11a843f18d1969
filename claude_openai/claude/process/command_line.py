"""The flags and environment of `claude`: a turn has only the client's messages, and costs one upstream call.

Both backends use them, and they are defined nowhere else. Each entry has its reason beside it, and a test on the
bundled CLI that shows its effect.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from claude_openai.claude.process.environment import inherited_environment
from claude_openai.claude.process.turn_settings import CACHE_TTL, FAST_MODE, TurnSettings
from claude_openai.claude.walls.own_tools import TOOLS
from claude_openai.protocol.claude_code.web_searches import WEB_SEARCH
from claude_openai.protocol.turn.claude_options import NO_CLAUDE_OPTIONS, ClaudeOptions

__all__ = ["claude_argv", "claude_environment"]

_OPTIONS = (
    *("--output-format", "stream-json", "--input-format", "stream-json", "--verbose"),
    "--include-partial-messages",  # the text token by token
    "--setting-sources=",  # no settings, hooks or CLAUDE.md of the user or the folder
    "--strict-mcp-config",  # no MCP servers of the user
    "--safe-mode",  # no skills, plugins, agents, commands; the login still works
    *("--thinking-display", "summarized"),  # thinking as text, not as progress notes
)

_OF_CLIENT = "mcp__openai__*"  # the client's tools, which the client runs

_ESSENTIAL_ONLY = "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"

_ENVIRONMENT = {
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    # Without it Claude Code sends a second, billed request for a session title.
    _ESSENTIAL_ONLY: "1",
    "DISABLE_AUTOUPDATER": "1",
    # Otherwise Claude Code adds a placeholder tool to the client's.
    "ENABLE_TOOL_SEARCH": "false",
    # Report failures instead of trying other ways: each of these would be one more billed call.
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_NO_MODEL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_MODEL_ACCESS_FALLBACK": "1",
    # The client shortens a history that is too long: OpenCode and others do so after the error.
    "DISABLE_COMPACT": "1",
    "DISABLE_AUTO_COMPACT": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    # An agent or a command that outlives its turn would be billed, and end in another request's turn.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    # Claude Code would put a longer tool result into a file and have Claude read that. The client and the model limit
    # its length.
    "MAX_MCP_OUTPUT_TOKENS": "100000000",
    # Claude Code would cut tool descriptions after 4,096 characters; one of OpenCode's has 4,641.
    "CLAUDE_CODE_MAX_MCP_DESCRIPTION_LENGTH": "100000000",
    # Otherwise each process writes a file of a built-in plugin under a lock, which remains if the process is killed.
    # (Not documented; 2.1.332.)
    "CLAUDE_CODE_AGENTS_MD_ROWS_EVERY_PROCESS": "1",
}

# Without it "<total_tokens>... tokens left" follows every tool result. Not set for turns with Claude's own tools:
# Claude Code announces plan mode in the same way.
_WITHOUT_OWN_TOOLS = {"CLAUDE_CODE_DISABLE_ATTACHMENTS": "1"}

# Without it Claude's API sends each argument of a call only when complete, and Claude Code forwards no pings: minutes
# of silence while Claude writes a file (github/copilot-cli#4286: 330 s), which look like a hang.
_UNLESS_SET = {"CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1"}

# The modes in which Claude Code asks Claude about the safety of each tool call, and denies it without an answer.
_JUDGED_MODES = ("auto", "plan")
_INSTEAD_OF_ESSENTIAL_ONLY = {
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_FEEDBACK_COMMAND": "1",
}


# Variables that lead the CLI to an account or another upstream; cleared if a stand-in answers.
ACCOUNT_VARIABLES = (
    *("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_MODEL", "ANTHROPIC_UNIX_SOCKET"),
    *("CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_OAUTH_REFRESH_TOKEN", "CLAUDE_CODE_CUSTOM_OAUTH_URL"),
    *("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_MANTLE", "CLAUDE_CODE_USE_ANTHROPIC_AWS", "CLAUDE_CODE_USE_VERTEX"),
    *("CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_GATEWAY"),
    "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST",
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
)


def claude_argv(
    claude: Path,
    *,
    model: str,
    settings: TurnSettings | None = None,
    options: ClaudeOptions = NO_CLAUDE_OPTIONS,
    rules: Mapping[str, Sequence[str]] | None = None,
    resume: Path | None = None,
    session: str | None = None,
    session_file: bool = False,
) -> list[str]:
    """Return the command line of a process.

    Args:
        claude: the program.
        model: passed on as it is; never begins with '-'.
        settings: settings of its first turn.
        options: Claude's own tools, their folders and permission mode, and the web search.
        rules: the `permissions` of its settings, which restrict these tools.
        resume: a transcript file with the history.
        session: session id; ignored with `resume`, because the file has the id.
        session_file: whether it writes a session file, in its configuration folder.
    """
    # Claude Code asks no permission for the allowed tools.
    search = () if options.web_search is None else (WEB_SEARCH,)
    tools = dict.fromkeys((*TOOLS[options.tool_mode], *search))
    argv = [str(claude), *_OPTIONS, "--tools", ",".join(tools), "--allowedTools", ",".join((_OF_CLIENT, *search))]
    argv += ["--model", model]
    argv += ["--permission-mode", options.permission_mode or "dontAsk"]
    if options.has_tools:
        argv += ["--permission-prompt-tool", "stdio"]  # permission prompts come as control requests
    settled = settings or TurnSettings()
    own = {"permissions": rules, CACHE_TTL: settled.cache_ttl, FAST_MODE: settled.fast_mode}
    if any(own.values()):
        argv += ["--settings", json.dumps({key: value for key, value in own.items() if value})]
    for folder in options.add_dirs:
        argv += ["--add-dir", folder]
    if settings is not None and settings.level is not None:
        argv += ["--effort", settings.level]
    if resume is not None:
        argv.append(f"--resume={resume}")
    elif session is not None:
        argv += ["--session-id", session]
    if not session_file:
        argv.append("--no-session-persistence")
    return argv


def claude_environment(
    base: Mapping[str, str], *, extra: Mapping[str, str], cwd: Path, options: ClaudeOptions = NO_CLAUDE_OPTIONS
) -> dict[str, str]:
    """Return the environment of a turn: what it inherits from the server, and the variables of this module.

    Args:
        base: the server's environment.
        extra: overrides everything that does not come from the request.
        cwd: the folder in which the child starts.
        options: the `claude` options of the request.
    """
    inherited = inherited_environment(base, own_tools=options.has_tools)
    more = {} if options.has_tools else _WITHOUT_OWN_TOOLS
    return {
        **_UNLESS_SET,
        **inherited,
        **_ENVIRONMENT,
        **more,
        **extra,
        **_judge_environment(options, base),
        "PWD": str(cwd),
    }


def _judge_environment(options: ClaudeOptions, base: Mapping[str, str]) -> dict[str, str]:
    if not options.has_tools or options.permission_mode not in _JUDGED_MODES:
        return {}
    # Claude Code counts the safety check of these modes as nonessential traffic. If the user set the variable, keep it.
    # Otherwise set its other effects one by one.
    return {_ESSENTIAL_ONLY: base.get(_ESSENTIAL_ONLY, ""), **_INSTEAD_OF_ESSENTIAL_ONLY}


def stand_in_environment(base_url: str, config_folder: Path) -> dict[str, str]:
    """Return extra variables that direct the CLI to a stand-in, away from the user's login and settings."""
    return {
        **dict.fromkeys(ACCOUNT_VARIABLES, ""),
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": "stand-in",
        "CLAUDE_CONFIG_DIR": str(config_folder),
        "NO_PROXY": "*",
        "no_proxy": "*",
    }
