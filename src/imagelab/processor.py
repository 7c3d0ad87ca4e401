"""What the processor has, and how much of it this process may use."""

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def usable_cores() -> int:
    """Cores that this process may run on: Linux can give it fewer than there are (taskset, containers)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def instruction_sets(*wanted: str, cpuinfo: Path = CPUINFO) -> list[str]:
    """Those of the instruction sets `wanted`, named as Linux names them, that there are; none on other systems."""
    if not cpuinfo.exists():
        return []
    lines = cpuinfo.read_text().splitlines()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "").split()
    return [name for name in wanted if name in flags]
