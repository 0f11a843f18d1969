"""The commands and programs of the README and the documentation, run as they stand; only addresses are replaced.

Commands that need a registry, Docker or a client are in `ELSEWHERE`.
"""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import trio

from claude_openai import Config, serve
from claude_openai.cassettes.file import read_cassette
from tests.conditions import SCRIPT, needs
from tests.docs_tables import README, blocks

LIMIT_S = 150
ADDRESS = "http://127.0.0.1:8000"

COMMANDS: Final = [text for _, text in blocks("sh")]
# Those with tests run in tests/examples/test_docs.py.
PROGRAMS: Final = [text for _, text in blocks("python") if "def test_" not in text]

CURL = """\
curl http://127.0.0.1:8000/v1/chat/completions \\
  -H 'Content-Type: application/json' \\
  -d '{"model": "claude-sonnet", "messages": [{"role": "user", "content": "Say hello."}]}'
"""
# Commands that run here, each with a pattern that its output must have.
SIMPLE: Final[Mapping[str, str]] = {
    CURL: r"\[demo\]",
    "claude-openai doctor --demo\n": "^all checks passed$|checks failed, 0 gave a warning$|0 of .* failed",
    "claude-openai service --print\n": "claude-openai for one user",
    "claude-openai key add alice --expires 90d\nclaude-openai key list\nclaude-openai key revoke alice\n": "^sk-",
    "mkdir -p ~/.claude ~/.config/claude\n": "^$",
}
# Commands with a test of their own below.
OWN_TEST: Final = (
    "claude-openai --background",
    "claude-openai --record",
    "claude-openai connect  ",
    "claude-openai runs",
    "claude-openai doctor --demo  ",
)
# Commands that do not run here, and where they run.
IN_CI = "the registry, and minutes; .ci/run takes it from the page"
NEEDS_DOCKER = "Docker; docker/test.sh builds and runs the image, docker/as_compose.py checks the compose file"
ELSEWHERE: Final[Mapping[str, str]] = {
    "CLAUDE_OPENAI_STATE_URL=redis://redis CLAUDE_OPENAI_DEMO=1 docker compose -f docker/replicas/docker-compose.yml "
    "--env-file docker/.env --profile shared up --build --scale replica=3\n": "Docker; tests/real/test_replicas.py "
    "runs HAProxy and Redis",
    "CLAUDE_OPENAI_DEMO=1 docker compose -f docker/replicas/docker-compose.yml --env-file docker/.env up --build "
    "--scale replica=3\n": "Docker; tests/real/test_replicas.py runs HAProxy, docker/test.sh a replica",
    """\
kubectl create namespace claude-openai
kubectl create secret generic --from-file=api-key=KEY_FILE --from-file=anthropic-api-key=ACCOUNT_FILE \
--namespace=claude-openai claude-openai
kubectl apply -k docker/replicas
""": "a cluster; tests/real/test_balancers.py validates the manifests",
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/claude-openai --demo\n": IN_CI,
    "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest -n auto --dist=worksteal\n": IN_CI,
    "python3 -m venv .venv && .venv/bin/pip install . && . .venv/bin/activate\n": "as the first command of README",
    "uv tool install .\n": IN_CI,
    "pipx install .\n": IN_CI,
    'uv tool install "git+file://$PWD"\n': IN_CI,
    'pipx install "git+file://$PWD"\n': IN_CI,
    ".venv/bin/pip install openai\n": "the registry; openai is in the extra 'test'",
    """\
. .venv/bin/activate                    # once in each terminal, so that the shell finds claude-openai
claude-openai connect opencode --write  # writes opencode.json into this folder
opencode run "Say hello."
""": "OpenCode; test_opencode.py runs it with this file, and the second line runs below",
    """\
claude-openai stop
pip uninstall claude-openai    # or: uv tool uninstall claude-openai; pipx uninstall claude-openai
rm -r ~/.claude-openai
""": "it would uninstall what is tested",
    """\
(umask 077 && echo "CLAUDE_OPENAI_API_KEY=$(openssl rand -hex 24)" > docker/.env)
docker compose -f docker/docker-compose.yml up --build
""": NEEDS_DOCKER,
    "CLAUDE_OPENAI_DEMO=1 docker compose -f docker/docker-compose.yml up --build without-login\n": NEEDS_DOCKER,
    "docker compose -f docker/docker-compose.yml exec claude-openai claude auth login\n": "Docker and an account",
    """\
docker build -f docker/Dockerfile -t claude-openai .
docker run --rm -p 127.0.0.1:8000:8000 -e CLAUDE_OPENAI_API_KEY claude-openai --demo
""": NEEDS_DOCKER,
    ".venv/bin/python -m tests.compat 2.1.300 newest\n": "the registry; .ci/run runs it for the newest",
    ".venv/bin/python -m tests.clients openai-python-3\n": "the registry; .ci/run runs it for all clients",
}


def block(*begins: str) -> str:
    (text,) = {text for text in COMMANDS if text.startswith(begins)}
    return text


def test_each_block_of_commands_is_run_here_or_listed_with_the_reason() -> None:
    own = {block(begin) for begin in OWN_TEST}
    listed = (*SIMPLE, *own, *ELSEWHERE)
    assert len(set(listed)) == len(listed)
    assert set(COMMANDS) == set(listed)


def test_the_first_two_commands_stand_where_ci_takes_them_from() -> None:
    text = README.read_text("utf-8")
    for line, command in (("Start it", "--demo"), ("Run its tests:", "pytest")):
        under = re.search(rf"(?ms)^{line}[^\n]*\n\n```sh\n(.*?)^```$", text)
        assert under is not None
        assert command in under[1]


@pytest.fixture
async def demo() -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(serve, Config(port=0, demo=True, log=False))
        yield url
        nursery.cancel_scope.cancel()


def environment(folder: Path) -> dict[str, str]:
    own = {"HOME": str(folder), "TMPDIR": str(folder), "CLAUDE_OPENAI_PORT": "0", "CLAUDE_OPENAI_SPARES": "0"}
    return {**os.environ, **own, "PATH": os.pathsep.join((str(SCRIPT.parent), os.environ["PATH"]))}


async def output_of(*command: str, folder: Path) -> str:
    """What a command says that is run in a folder, which is its home and its place for files, too."""
    with trio.fail_after(LIMIT_S):
        done = await trio.run_process(
            command,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            env=environment(folder),
            cwd=folder,
            check=False,
        )
    output: str = done.stdout.decode()
    assert done.returncode == 0, output
    return output


@pytest.mark.long
@needs("curl")
@pytest.mark.parametrize("command", SIMPLE, ids=lambda text: text.split("\n")[0][:30])
async def test_a_command_succeeds_and_prints_what_it_is_for(command: str, demo: str, tmp_path: Path) -> None:
    output = await output_of("bash", "-euc", command.replace(ADDRESS, demo), folder=tmp_path)
    assert re.search(SIMPLE[command], output, re.MULTILINE), output


@pytest.mark.long
async def test_the_command_that_records_makes_a_cassette(tmp_path: Path) -> None:
    command = f"{block('claude-openai --record').strip()} --demo --background\nclaude-openai stop"
    await output_of("bash", "-euc", command, folder=tmp_path)
    assert read_cassette(tmp_path / "tests" / "weather.jsonl").entries == ()


@pytest.mark.long
async def test_the_commands_for_the_background_start_show_restart_and_stop_a_server(tmp_path: Path) -> None:
    command = block("claude-openai --background").replace("logs -f", "logs")
    output = await output_of("bash", "-euc", command, folder=tmp_path)
    assert output.count("runs in the background (demo") == 2
    assert output.splitlines()[-1].endswith("has stopped")


async def test_the_commands_that_connect_a_client_write_its_file_and_set_the_variables(tmp_path: Path) -> None:
    command = block("claude-openai connect  ") + '\necho "$OPENAI_BASE_URL"'
    output = await output_of("bash", "-euc", command, folder=tmp_path)
    assert f"connected: {tmp_path / 'opencode.json'}" in output
    assert output.splitlines()[-1] == f"{ADDRESS}/v1"


@needs("curl")
@pytest.mark.long
async def test_the_commands_for_runs_list_and_print_one_and_refuse_to_cancel_it_after_its_end(tmp_path: Path) -> None:
    *lines, cancel = block("claude-openai runs").splitlines()
    script = f"""
claude-openai --background --demo
trap 'claude-openai stop' EXIT
{CURL.replace(":8000", ":$(cat claude-openai.port)")}
id=$(claude-openai runs | grep -o 'run_[0-9a-f]*')
{chr(10).join(lines)}
! {cancel}
"""
    script = re.sub(r"\brun_(e22|98f)\b", '"$id"', script)
    output = await output_of("bash", "-euc", script, folder=tmp_path)
    assert "completed" in output
    assert output.count("[demo]") == 2  # of curl and of tail


@pytest.mark.long
async def test_the_commands_of_doctor_find_nothing_wrong_here(tmp_path: Path) -> None:
    for command in block("claude-openai doctor --demo  ").splitlines():
        assert "FAIL" not in await output_of("bash", "-euc", command, folder=tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
async def test_a_program_runs_and_prints(program: str, demo: str, tmp_path: Path) -> None:
    output = await output_of(sys.executable, "-c", program.replace(ADDRESS, demo), folder=tmp_path)
    expected = "Hello" if "claude_openai.testing" in program else "listening on" if "serve" in program else "[demo]"
    assert expected in output


async def test_the_command_that_shows_the_help_knows_every_flag(tmp_path: Path) -> None:
    shown = await output_of(sys.executable, "-m", "claude_openai", "--help-all", folder=tmp_path)
    page = (README.parent / "claude_openai" / "docs" / "configuration.md").read_text("utf-8")
    assert all(flag in shown for flag in re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE))
