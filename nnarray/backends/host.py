"""The host's memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def host_memory() -> int | None:
    """The total memory of the host in bytes; None if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def free_host_memory() -> int | None:
    """The memory in bytes that this process can still allocate; None if the system does not report it.

    It is the minimum of the free memory of the machine, the limit of its container, and that of the process
    (`ulimit -v`).
    """
    free: list[int] = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    with contextlib.suppress(OSError, LookupError, ValueError):  # the cache of other programs' files counts as free
        sizes = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free[:] = [int(sizes["MemAvailable"].split()[0]) << 10]
    with contextlib.suppress(OSError, LookupError, ValueError):  # "max" instead of a number, if there is no limit
        group = Path("/sys/fs/cgroup")
        used = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        limit, current = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        free.append(limit - current + int(used["inactive_file"]))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit, pages = resource.getrlimit(resource.RLIMIT_AS)[0], Path("/proc/self/statm").read_text().split()[0]
        if limit != resource.RLIM_INFINITY:
            free.append(limit - os.sysconf("SC_PAGE_SIZE") * int(pages))
    return max(min(free), 0) if free else None
