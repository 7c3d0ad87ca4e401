import os
from pathlib import Path

import pytest

from imagelab.processor import instruction_sets, is_faster_in_bfloat16, usable_cores


@pytest.mark.parametrize("line", ["flags : fpu avx2 avx512_bf16", "Features : avx2 avx512_bf16"])  # x86 and ARM
def test_instruction_sets_are_read_as_linux_names_them(line: str, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\n{line}\nprocessor : 1\n{line}\n")
    assert instruction_sets("avx512_bf16", "amx_bf16", "avx2", "avx51", cpuinfo=cpuinfo) == ["avx512_bf16", "avx2"]


def test_elsewhere_none_is_known(tmp_path: Path) -> None:
    assert instruction_sets("avx2", cpuinfo=tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("vendor", "flags", "faster"),
    [
        ("GenuineIntel", "avx2 avx512_bf16", False),
        ("GenuineIntel", "avx2 avx512_bf16 amx_bf16", True),
        ("AuthenticAMD", "avx2 avx512_bf16", True),
        ("AuthenticAMD", "avx2", False),
    ],
)
def test_bfloat16_is_faster_only_where_it_has_more_units(vendor: str, flags: str, faster: bool, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\nbogomips\t: 5400\n")
    assert is_faster_in_bfloat16(cpuinfo) is faster


def test_cores_are_counted_where_the_system_assigns_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == os.cpu_count()
