"""The order of the modules: each imports only from those above it, and a command pays only for what it uses."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import claude_openai
from claude_openai.commands.instance.lock import claiming
from claude_openai.commands.instance.record import Instance

FOLDER = Path(claude_openai.__file__).parent
ROOT = "claude_openai"

# The program from the vocabulary to the command line. A new module gets its line here.
LINES = (
    "errors  shortages  threads  offload",
    "protocol  protocol.events  protocol.refusals  protocol.blocks",
    "protocol.values  protocol.budget  protocol.json_size  protocol.kept  protocol.surrogates",
    "protocol.pictures  protocol.shrinking  protocol.media  protocol.json_body",
    "protocol.content  protocol.turns  protocol.history",
    "protocol.checks  protocol.fields  protocol.agent  protocol.model_records  protocol.models",
    "protocol.patterns  protocol.formats  protocol.drafts  protocol.metaschema  protocol.document",
    "protocol.validator  protocol.unevaluated  protocol.keywords  protocol.schemas",
    "protocol.references  protocol.adapted  protocol.tools  protocol.tool_schema  protocol.legacy",
    "protocol.output  protocol.request",
    "protocol.stop  protocol.sse  protocol.response  protocol.chunks  protocol.money  protocol.upstream",
    "protocol.tool_notes",
    "protocol.formed  protocol.counts  protocol.lines  protocol.signs  protocol.effects",
    "protocol.message  protocol.calls  protocol.demands  protocol.turn_states  protocol.turn_content",
    "protocol.cli_stream",
    "protocol.responses  protocol.responses.fields  protocol.responses.tools  protocol.responses.memory",
    "protocol.responses.input  protocol.responses.request  protocol.responses.object  protocol.responses.stream",
    "config.values  config.setting  config.config  config.table  config",
    "logs  logs.secret_spans  logs.redaction  logs.writer  logs.log",
    "claude  claude.base  claude.supervisor  claude.environment  claude.hermetic  claude.leftovers  claude.ledger",
    "claude.guardian  claude.process  claude.process_files  claude.memory",
    "claude.thoughts  claude.toolbox",
    "claude.file_calls  claude.folders  claude.file_guard  claude.permission_rules  claude.permissions",
    "claude.wall  claude.confinement  claude.tool_walls",
    "claude.message_form",
    "claude.transcript  claude.frames  claude.late_transcript  claude.known_models  claude.launcher",
    "claude.version  claude.start_errors  claude.records",
    "claude.priming",
    "claude.client  claude.transport  claude.turn  claude.conversation",
    "claude.conversations  claude.spares  claude.sdk  claude.cli",
    "testing.script  testing.recorded  testing.wire  testing.strictness  testing.connection",
    "testing.messages_api  testing.demo",
    "testing.scripted  testing",
    "runs  runs.metrics  runs.records  runs.files  runs.writer  runs.run  runs.admission  runs.liveness",
    "runs.long_context  runs.producer  runs.registry",
    "web  web.body  web.connection  web.guard  web.peer  web.agent_guard  web.unread  web.http1  web.listen",
    "web.control",
    "web.openapi_schemas  web.openapi  web.prometheus  web.operators  web.routes",
    "preload  server",
    "commands  commands.paths  commands.own_files  commands.instance  commands.claim  commands.asking",
    "commands.installed",
    "commands.processes  commands.last_folder",
    "commands.doctor  commands.doctor.checks  commands.doctor.checks_claude  commands.doctor.checks_server",
    "commands.last_words  commands.start  commands.serve  commands.daemon",
    "commands.control  commands.run_source  commands.runs  commands.tail  commands.cancel",
    "commands.status  commands.stop  commands.restart  commands.logs  commands.service",
    "commands.doctor.round_trip  commands.doctor.self_test_turns  commands.doctor.self_test  commands.doctor.command",
    "commands.connect  commands.connect.merging  commands.connect.config_files  commands.connect.client_texts",
    "commands.connect.clients  commands.connect.command",
    "__main__",
)
ORDER = [name for line in LINES for name in line.split()]

NOT_IN_PROTOCOL = {
    *("trio", "anyio", "asyncio", "quart", "quart_trio", "hypercorn", "h11", "werkzeug", "claude_agent_sdk"),
    *("os", "io", "pathlib", "time", "datetime", "random", "secrets", "uuid", "socket", "subprocess", "threading"),
    *("logging", "tempfile", "shutil"),
}


def modules() -> dict[str, Path]:
    found = {}
    for path in FOLDER.rglob("*.py"):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """The full names of what a module imports, in functions and for types too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute here"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_module(imported: str) -> str:
    """The module of ours that `claude_openai.logs.log.Log` is of, as a name of `ORDER`; "" for the package itself."""
    name = imported.removeprefix(ROOT).removeprefix(".")
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def test_every_module_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted(MODULES.keys() - {""})


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_from_those_above_it(name: str) -> None:
    above = ORDER[: ORDER.index(name)]
    used = {own_module(imported) for imported in imports(MODULES[name]) if imported.partition(".")[0] == ROOT}
    # The package itself, for its version, imports nothing when it is imported but `config`.
    assert used <= {*above, ""}, f"{name} imports from below: {sorted(used - {*above, ''})}"


@pytest.mark.parametrize("name", [name for name in ORDER if name.startswith("protocol")])
def test_the_protocol_is_pure(name: str) -> None:
    outside = {imported.partition(".")[0] for imported in imports(MODULES[name])}
    in_memory = {"io"} if name == "protocol.shrinking" else set()  # Pillow reads and writes files only
    assert not (outside - in_memory) & NOT_IN_PROTOCOL


def loaded_by(statement: str) -> set[str]:
    """The top names of all modules in a fresh interpreter after a statement."""
    program = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("statement", ["import claude_openai", "import claude_openai.commands"])
def test_a_command_does_not_load_the_server_before_it_serves(statement: str) -> None:
    heavy = {"quart", "quart_trio", "hypercorn", "claude_agent_sdk", "trio", "anyio", "h11", "jsonschema"}
    assert not loaded_by(statement) & heavy


@pytest.mark.parametrize("is_found", [False, True])
def test_status_loads_next_to_nothing(tmp_path: Path, is_found: bool) -> None:
    # Nobody answers on this port.
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


def test_the_server_listens_before_it_loads_what_only_some_requests_need() -> None:
    assert not loaded_by("import claude_openai.server") & {"claude_agent_sdk", "jsonschema", "prometheus_client"}
