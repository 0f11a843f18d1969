"""How much memory is left: the lesser of the machine's and the container's."""

from pathlib import Path

import pytest

from claude_openai.claude.process.free_memory import available_mb

MB = 1024**2


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable:  2048000 kB\n")
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [("max", 5 * MB, 2000), (str(1000 * MB), 400 * MB, 600), (str(9000 * MB), 0, 2000), (str(MB), 2 * MB, 0)],
)
def test_it_is_what_the_machine_has_and_no_more_than_the_container_may_use(
    cgroup: Path, limit: str, used: int, left: int
) -> None:
    (cgroup / "memory.max").write_text(f"{limit}\n")
    (cgroup / "memory.current").write_text(f"{used}\n")
    assert available_mb(cgroup / "meminfo", cgroup) == left


def test_memory_is_unknown_without_its_files(cgroup: Path) -> None:
    assert available_mb(cgroup / "meminfo", cgroup) == 2000
    (cgroup / "meminfo").unlink()
    assert available_mb(cgroup / "meminfo", cgroup) is None
