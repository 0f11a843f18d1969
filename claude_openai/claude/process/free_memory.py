"""The free memory of this machine or container. Linux only."""

from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["available_mb"]

MEMINFO: Final = Path("/proc/meminfo")
CGROUP: Final = Path("/sys/fs/cgroup")


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
