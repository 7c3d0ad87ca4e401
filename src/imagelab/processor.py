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
    flags = (cpuinfo_line("flags", cpuinfo) or cpuinfo_line("Features", cpuinfo)).split()
    return [name for name in wanted if name in flags]


def is_faster_in_bfloat16(cpuinfo: Path = CPUINFO, with_amx: bool = True) -> bool:
    """Whether this processor multiplies more numbers a second in bfloat16 than in float32.

    Intel's AVX512-BF16 uses one port where its float32 uses two, so only AMX gains; AMD's is twice as fast.

    Args:
        with_amx: whether AMX may be used, where it is.
    """
    if cpuinfo_line("vendor_id", cpuinfo) == "GenuineIntel":
        return with_amx and bool(instruction_sets("amx_bf16", cpuinfo=cpuinfo))
    return bool(instruction_sets("avx512_bf16", "amx_bf16", cpuinfo=cpuinfo))


def cpuinfo_line(name: str, cpuinfo: Path) -> str:
    """What Linux says of the first core under a name; empty where it says nothing."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.split(":", 1) for line in lines if ":" in line)
    return next((value.strip() for key, value in named if key.strip() == name), "")
