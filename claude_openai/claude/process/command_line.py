"""How `claude` is started so that a turn sees the client's words and nothing else, and costs one upstream call.

The only place that knows the CLI's flags and environment. Both backends start it this way. Each entry has its reason
beside it, and a test on the bundled CLI that shows it at work.
"""

import importlib.util
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from claude_openai.claude.process.environment import inherited_environment
from claude_openai.errors import ClaudeMissing, ConfigError
from claude_openai.protocol.openai.chat.request import ChatRequest
from claude_openai.protocol.openai.claude_options import NO_AGENT, Agent, ToolMode

__all__ = ["TOOLS", "TurnSettings", "claude_argv", "claude_environment", "find_claude", "login_command"]

_FLAGS = (
    *("--output-format", "stream-json", "--input-format", "stream-json", "--verbose"),
    "--include-partial-messages",  # the text token by token
    *("--allowedTools", "mcp__openai__*"),  # the client's own, which it runs itself
    "--setting-sources=",  # no settings, hooks or CLAUDE.md of the user or the folder
    "--strict-mcp-config",  # no MCP servers of the user
    "--safe-mode",  # no skills, plugins, agents, commands; the login still works
    *("--thinking-display", "summarized"),  # thinking as text, not as progress notes
)

# The built-in tools by mode. Those that are missing from all of them talk to a person, a terminal or a later day.
_READING = ("Read", "Glob", "Grep")
_WRITING = (*_READING, "Edit", "Write", "NotebookEdit")
TOOLS: Final[Mapping[ToolMode, tuple[str, ...]]] = {
    "disabled": (),
    "readonly": _READING,
    "safe": _WRITING,
    "all": (*_WRITING, "Bash", "TaskStop", "WebFetch", "WebSearch", "Agent"),
}

_ESSENTIAL_ONLY = "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"

_ENVIRONMENT = {
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    # Without it a second, billed request asks for a session title.
    _ESSENTIAL_ONLY: "1",
    "DISABLE_AUTOUPDATER": "1",
    # Otherwise a placeholder tool of its own stands among the client's.
    "ENABLE_TOOL_SEARCH": "false",
    # What fails is reported, not repeated in another way: each of these would be one more billed call.
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_NO_MODEL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_MODEL_ACCESS_FALLBACK": "1",
    # A history that is too long is the client's to shorten: OpenCode and others do, when they are told.
    "DISABLE_COMPACT": "1",
    "DISABLE_AUTO_COMPACT": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    # An agent or a command that runs on after its turn would be paid for, and end in somebody else's turn.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    # A longer result of a tool would be put into a file, and Claude told to read that. How long one may be is the
    # client's affair, and the model's.
    "MAX_MCP_OUTPUT_TOKENS": "100000000",
    # The description of a client's tool would be cut after 4,096 characters; one of OpenCode's has 4,641.
    "CLAUDE_CODE_MAX_MCP_DESCRIPTION_LENGTH": "100000000",
    # Otherwise each process writes a file of a built-in plugin under a lock, which stays when it is killed meanwhile.
    # (Not documented; 2.1.332.)
    "CLAUDE_CODE_AGENTS_MD_ROWS_EVERY_PROCESS": "1",
}

# Without it "<total_tokens>... tokens left" follows every result of a tool. Not where Claude has tools of its own: plan
# mode is told of in the same way.
_WITHOUT_OWN_TOOLS = {"CLAUDE_CODE_DISABLE_ATTACHMENTS": "1"}

# Without it Claude's API sends an argument of a call only when it is whole, and Claude Code passes no pings on: minutes
# of silence while Claude writes a file (github/copilot-cli#4286: 330 s), which would be taken for a hang.
_UNLESS_SET = {"CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1"}

# The modes in which Claude Code asks Claude, call by call, whether a tool may be used: without that it refuses.
_JUDGED_MODES = ("auto", "plan")
_INSTEAD_OF_ESSENTIAL_ONLY = {
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_FEEDBACK_COMMAND": "1",
}

# Claude Code has no less than low; it thinks as it sees fit then.
_EFFORTS = {"none": "low", "minimal": "low"}
_MAX_TOKENS = "CLAUDE_CODE_MAX_OUTPUT_TOKENS"
_SHORT_CONTEXT = "CLAUDE_CODE_DISABLE_1M_CONTEXT"

# What leads the CLI to an account or another upstream; dropped where a stand-in answers instead.
ACCOUNT_VARIABLES = (
    *("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_MODEL", "ANTHROPIC_UNIX_SOCKET"),
    *("CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_OAUTH_REFRESH_TOKEN", "CLAUDE_CODE_CUSTOM_OAUTH_URL"),
    *("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_MANTLE", "CLAUDE_CODE_USE_ANTHROPIC_AWS", "CLAUDE_CODE_USE_VERTEX"),
    *("CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_GATEWAY"),
    "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST",
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
)


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """What a process can be told anew for each turn.

    Attributes:
        effort: OpenAI's `reasoning_effort`; None leaves it to Claude Code.
        max_tokens: bound of an answer; None, or more than the model's own, is the model's own.
        long_context: more than 200,000 tokens may be used. To be told before the first call: after it a process goes on
            asking for the 1M context of a model with `[1m]` (2.1.332).
    """

    effort: str | None = None
    max_tokens: int | None = None
    long_context: bool = True

    @classmethod
    def of(cls, request: ChatRequest) -> "TurnSettings":
        return cls(request.reasoning_effort, request.max_tokens, request.long_context)

    @property
    def level(self) -> str | None:
        return None if self.effort is None else _EFFORTS.get(self.effort, self.effort)

    @property
    def environment(self) -> dict[str, str]:
        """For a process that starts with it; an empty value takes back an earlier one."""
        short = {} if self.long_context else {_SHORT_CONTEXT: "1"}
        return {_MAX_TOKENS: "" if self.max_tokens is None else str(self.max_tokens), **short}

    def frame(self) -> dict[str, Any]:
        """The control request that tells it to a running process, before a turn."""
        settings = {"effortLevel": self.level, "env": self.environment}
        request = {"subtype": "apply_flag_settings", "settings": settings}
        return {"type": "control_request", "request_id": f"settings_{uuid.uuid4().hex}", "request": request}


def claude_argv(
    claude: Path,
    *,
    model: str,
    settings: TurnSettings | None = None,
    agent: Agent = NO_AGENT,
    rules: Mapping[str, Sequence[str]] | None = None,
    resume: Path | None = None,
    session: str | None = None,
    session_file: bool = False,
) -> list[str]:
    """The command line of a process.

    Args:
        claude: the program.
        model: passed on as it is; never begins with '-'.
        settings: of its first turn.
        agent: which tools of its own it has, where, and what they may do.
        rules: what they are kept from, as the `permissions` of its settings.
        resume: a transcript file with the history.
        session: the id of its session; without effect with `resume`, where the file says it.
        session_file: whether it writes one, in its configuration folder.
    """
    argv = [str(claude), *_FLAGS, "--tools", ",".join(TOOLS[agent.tool_mode]), "--model", model]
    argv += ["--permission-mode", agent.permission_mode or "dontAsk"]
    if agent.has_tools:
        argv += ["--permission-prompt-tool", "stdio"]  # what it would ask for is asked of us
    if rules:
        argv += ["--settings", json.dumps({"permissions": rules})]
    for folder in agent.add_dirs:
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
    base: Mapping[str, str], *, extra: Mapping[str, str], cwd: Path, agent: Agent = NO_AGENT
) -> dict[str, str]:
    """The environment of a turn: what passes of the server's own, made hermetic.

    Args:
        base: the server's environment.
        extra: wins over everything that is not of the request.
        cwd: the folder the child starts in.
        agent: of the request.
    """
    inherited = inherited_environment(base, own_tools=agent.has_tools)
    more = {} if agent.has_tools else _WITHOUT_OWN_TOOLS
    return {
        **_UNLESS_SET,
        **inherited,
        **_ENVIRONMENT,
        **more,
        **extra,
        **_judge_environment(agent, base),
        "PWD": str(cwd),
    }


def _judge_environment(agent: Agent, base: Mapping[str, str]) -> dict[str, str]:
    if not agent.has_tools or agent.permission_mode not in _JUDGED_MODES:
        return {}
    # The safety check of these modes is no essential traffic to Claude Code. Whoever set the variable themselves keeps
    # it; for the others what it would do is had one by one.
    return {_ESSENTIAL_ONLY: base.get(_ESSENTIAL_ONLY, ""), **_INSTEAD_OF_ESSENTIAL_ONLY}


def stand_in_environment(base_url: str, config_folder: Path) -> dict[str, str]:
    """Extra variables that make the CLI talk to a stand-in, without touching the user's own login and settings."""
    return {
        **dict.fromkeys(ACCOUNT_VARIABLES, ""),
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": "stand-in",
        "CLAUDE_CONFIG_DIR": str(config_folder),
        "NO_PROXY": "*",
        "no_proxy": "*",
    }


def find_claude(command: str | None) -> Path:
    """The `claude` program to run: the one named, else the SDK's own, else the one on PATH.

    Raises:
        ConfigError: the one named is not there or cannot be run.
        ClaudeMissing: none is found.
    """
    if command is not None:
        # Not by way of a Path, to which './claude' is 'claude', and that is looked for on PATH.
        found = shutil.which(os.path.expanduser(command))  # noqa: PTH111
        if found is None:
            raise ConfigError(
                f"--claude-command / CLAUDE_OPENAI_CLAUDE_COMMAND or CLAUDE_COMMAND: {command!r} is not a program that "
                "can be run; leave it out to use the one that comes with the SDK"
            )
        return Path(found).absolute()
    bundled = _bundled_claude()
    if bundled is not None:
        return bundled
    found = shutil.which("claude")
    if found is None:
        raise ClaudeMissing(
            "No Claude Code was found: the installed claude-agent-sdk brings none for this platform, and there is no "
            "'claude' on PATH. Install it with `npm install -g @anthropic-ai/claude-code` (the server need not be "
            "restarted), or name it with --claude-command.",
            may_retry=False,
        )
    return Path(found).absolute()


def _bundled_claude() -> Path | None:
    # Looked up without importing the SDK, which takes half a second.
    spec = importlib.util.find_spec("claude_agent_sdk")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "_bundled" / "claude"
    return path if path.is_file() and os.access(path, os.X_OK) else None


def login_command(claude: Path) -> str:
    """What to type to log this `claude` in."""
    on_path = shutil.which("claude")
    same = on_path is not None and Path(on_path).resolve() == claude.resolve()
    return "claude auth login" if same else f"{claude} auth login"
