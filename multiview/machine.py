"""This process's share of the machine: processors and memory, as affinity and limits of containers leave them."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")  # under which /proc and /sys/fs/cgroup lie
NO_LIMIT = 1 << 60  # bytes; what version 1 of control groups says where there is no limit lies above
UNKNOWN_MEMORY = 8_000_000_000  # bytes, where the system does not say


def _limits(controller: str, newer: str, older: str) -> Iterator[list[str]]:
    """Read a limit of this process's control group and of each group around it, of version 2 or 1."""
    with contextlib.suppress(OSError):
        for line in (ROOT / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, place = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            top = ROOT / "sys/fs/cgroup" / (controller if controllers else "")
            inner = Path(place.lstrip("/"))
            for folder in [inner, *inner.parents]:
                with contextlib.suppress(OSError):
                    yield (top / folder / (older if controllers else newer)).read_text(encoding="utf-8").split()


def processors() -> int:
    """Count the processors that this process may use: affinity, and quotas of its control groups, rounded up."""
    share: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for words in _limits("cpu", "cpu.max", "cpu.cfs_quota_us"):
        quota, period = (words[0], words[1]) if len(words) == 2 else (words[0], "100000")
        if quota != "max" and int(quota) > 0:
            share = min(share, int(quota) / int(period))
    return max(1, math.ceil(share))


def memory_bytes() -> int:
    """Count the bytes of memory that this process may use: the machine's, within its control groups' and own limits."""
    found = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system says
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    found += [
        int(words[0])
        for words in _limits("memory", "memory.max", "memory.limit_in_bytes")
        if words[0] != "max" and int(words[0]) < NO_LIMIT
    ]
    with contextlib.suppress(ImportError):
        import resource

        own = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
        found += [limit for limit in own if limit != resource.RLIM_INFINITY]
    return max(min(found, default=UNKNOWN_MEMORY), 1)
