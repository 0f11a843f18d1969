"""The free memory of this machine or container, and that of a process. Linux only."""

import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["available_mb", "private_mb"]

MEMINFO: Final = Path("/proc/meminfo")
CGROUP: Final = Path("/sys/fs/cgroup")
PROC: Final = Path("/proc")
PAGE_BYTES: Final = resource.getpagesize()


def available_mb(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int | None:
    """Return the available memory in MiB, bounded by the container's limit; None if it is unknown."""
    found = []
    with suppress(OSError, StopIteration, ValueError):
        lines = meminfo.read_text().splitlines()
        found.append(next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) // 1024)
    with suppress(OSError, ValueError):  # "max": there is no limit
        limit, used = (int((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
        found.append(max(0, limit - used) // 1024**2)
    return min(found, default=None)


def private_mb(pid: int) -> int | None:
    """Return the private memory of a process in MiB: what is resident, less what it may share. None if unknown."""
    try:
        _, resident, shared, *_ = (PROC / str(pid) / "statm").read_text().split()
    except (OSError, ValueError):
        return None
    return (int(resident) - int(shared)) * PAGE_BYTES // 1024**2
