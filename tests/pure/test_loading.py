"""What a command, a server and a harness load, and when: each pays only for what it uses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from claude_openai.commands.instance.lock import claiming
from claude_openai.commands.instance.record import Instance

ROOT = "claude_openai"


def loaded_by(statement: str) -> set[str]:
    """The top names of all modules in a fresh interpreter after a statement."""
    program = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("statement", ["import claude_openai", "import claude_openai.commands"])
def test_a_command_does_not_load_the_server_before_it_serves(statement: str) -> None:
    heavy = {"quart", "quart_trio", "hypercorn", "claude_agent_sdk", "trio", "anyio", "h11", "jsonschema", "rich"}
    assert not loaded_by(statement) & heavy


def test_parsers_of_all_commands_load_neither_the_server_nor_an_extra() -> None:
    loaded = loaded_by("from claude_openai.commands.table import complete_parser; complete_parser()")
    assert not loaded & {"quart", "trio", "rich"}


@pytest.mark.parametrize("is_found", [False, True])
def test_status_loads_next_to_nothing(tmp_path: Path, is_found: bool) -> None:
    # Nothing listens on this port.
    told = Instance(os.getpid(), 1, "http://127.0.0.1:1", "", "1.0", "sdk", 0.0, None, "", (), "/", True)
    status = (
        f"from claude_openai import commands; assert commands.main(['status'], {{'TMPDIR': {str(tmp_path)!r}}}) == 1"
    )
    with claiming(tmp_path) as claim:
        if is_found:
            claim.publish(told)
        loaded = loaded_by(status)
    server = {"trio", "anyio", "asyncio", "quart", "h11", "claude_agent_sdk", "jsonschema"}
    assert not loaded & {*server, "http", "ssl", "email", "logging", "subprocess", "tempfile", "threading", "queue"}


def test_the_harness_needs_trio_and_h11_and_nothing_else() -> None:
    outside = loaded_by("import claude_openai.testing") - loaded_by("import trio, h11") - sys.stdlib_module_names
    assert outside == {ROOT}


def test_plugin_adds_only_itself_to_the_start_of_pytest() -> None:
    program = (
        "import sys, pytest; old = {*sys.modules}; import claude_openai.pytest_plugin; print(*{*sys.modules} - old)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert set(run.stdout.split()) == {"claude_openai", "claude_openai._version", "claude_openai.pytest_plugin"}


def test_the_server_listens_before_it_loads_what_only_some_requests_need() -> None:
    later = {"claude_agent_sdk", "jsonschema", "opentelemetry", "prometheus_client"}
    assert not loaded_by("import claude_openai.server") & later
