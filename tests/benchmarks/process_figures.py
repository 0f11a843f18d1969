"""What processes weigh and compute, by /proc. Linux only."""

from contextlib import suppress
from pathlib import Path

from .report import cpu_ms

__all__ = ["claudes", "computed_ms", "family", "memory_mb", "own_mb", "proportional_mb"]


def memory_mb(pid: int) -> float:
    """Resident memory of one process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def claudes(pid: int) -> list[int]:
    """The processes of Claude Code that descend from a server."""
    return [one for one in family(pid) if b"--input-format" in Path(f"/proc/{one}/cmdline").read_bytes()]


def proportional_mb(pid: int) -> float:
    """Proportional set size of one process: what is shared counts by its share, so that sums are true."""
    return _rollup_mb(pid, "Pss")


def own_mb(pid: int) -> float:
    """What a process shares with no other."""
    return _rollup_mb(pid, "Private_Clean") + _rollup_mb(pid, "Private_Dirty")


def _rollup_mb(pid: int, name: str) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.split(f"{name}:")[1].split()[0]) / 1024


def computed_ms(pid: int) -> float:
    """CPU time so far of a process and of all that descend from it and live."""
    return sum(cpu_ms(one) for one in family(pid))
