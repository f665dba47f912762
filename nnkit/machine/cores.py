"""The cores that this process may use, and what they are."""

import os
import platform
from pathlib import Path


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def processor() -> str:
    """Return the name of this machine's processor, such as "AMD EPYC 9B14"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        # Not Linux.
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    # Other makes than x86 have no such line.
    return next(names, platform.machine())
