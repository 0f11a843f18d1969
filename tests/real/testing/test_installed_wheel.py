"""The wheel in an environment of its own: pytest finds the fixture by the entry point, with nothing configured."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from claude_openai.web.dashboard import FILES
from tests.conditions import needs

ROOT = Path(__file__).parents[3]
LIMIT_S = 300
TEST = """
import sys, claude_openai

def test_agent(claude_server):
    claude_server.answer("Hello")
    answer = claude_server.openai().responses.create(model="claude-sonnet", input="Hi")
    assert answer.output_text == "Hello"
    assert claude_openai.__file__.startswith(sys.prefix)
"""


def run(*command: str | Path, cwd: Path) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@needs("hatchling")
def test_wheel_brings_the_fixture(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {f"claude_openai/web/dashboard/{name}" for name in FILES} <= set(archive.namelist())
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # What it depends on, without the project as it is installed here.
    others = tmp_path / "others"
    others.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "claude_openai" not in path.name:
            (others / path.name).symlink_to(path)
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    Path(packages, "others.pth").write_text(str(others))
    (tmp_path / "test_agent.py").write_text(TEST)
    output = run(python, "-m", "pytest", "-c", "/dev/null", "--rootdir", ".", "test_agent.py", cwd=tmp_path)
    assert " 1 passed in " in output, output
