"""Programs that stand in for `claude` and misbehave, written in `sh` so that they start at once.

They speak just enough of what the CLI speaks for the SDK to follow a turn. Each behaviour is a few lines of shell, made
of the functions of `PRELUDE`.
"""

from pathlib import Path

__all__ = ["ANSWER", "FAKE_CLAUDE", "NEW_MODEL", "fake_cli"]

FAKE_CLAUDE = "fake-claude"

PRELUDE = r"""#!/bin/sh
say() { printf '%s\n' "$1"; }
event() { say '{"type":"stream_event","session_id":"s","uuid":"u","event":'"$1"'}'; }
initialized() {
  read -r line || exit 9
  id=${line#*'"request_id": "'}
  say '{"type":"control_response","response":{"subtype":"success","request_id":"'"${id%%\"*}"'","response":{}}}'
}
asked() { initialized; read -r line || exit 9; }
begin() { event '{"type":"message_start","message":{"model":"fake","usage":{"input_tokens":1,"output_tokens":1}}}'; }
delta() { event '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"'"$1"'"}}'; }
result() {
  say '{"type":"result","subtype":"success","is_error":false,"duration_ms":1,"duration_api_ms":1,"num_turns":1,'\
'"session_id":"s","result":"one two","usage":{"input_tokens":1,"output_tokens":2}}'
}
"""

# A whole turn; then it waits, as the CLI does, for the end of its input.
ANSWER = """
asked
begin
delta one
delta ' two'
result
read -r line
"""

# Lists a model of tomorrow, behind an entry of another form and a name that is no safe argument; writes down its argv.
NEW_MODEL = r"""
printf '%s\n' "$@" > "${0%/*}/argv"
read -r line
id=${line#*'"request_id": "'}
say '{"type":"control_response","response":{"subtype":"success","request_id":"'"${id%%\"*}"'","response":{"models":['\
'7,{"value":"--print"},{"value":"mythos","resolvedModel":"claude-mythos-1","supportedEffortLevels":["low","ultra","max"]}]}}}'
read -r line
begin
delta hello
say '{"type":"result","subtype":"success","is_error":false,"result":"hello","usage":{"input_tokens":1,'\
'"output_tokens":2},"modelUsage":{"claude-mythos-1":{"contextWindow":2000000,"maxOutputTokens":256000}}}'
read -r line
"""


def fake_cli(folder: Path, behaviour: str) -> str:
    """Write the program and return its path, for `claude_command`."""
    path = folder / FAKE_CLAUDE
    path.write_text(PRELUDE + behaviour)
    path.chmod(0o755)
    return str(path)
