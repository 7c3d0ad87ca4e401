import os
from pathlib import Path

import pytest

from imagelab.processor import instruction_sets, usable_cores


@pytest.mark.parametrize("line", ["flags : fpu avx2 avx512_bf16", "Features : avx2 avx512_bf16"])  # x86 and ARM
def test_instruction_sets_are_read_as_linux_names_them(line: str, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\n{line}\nprocessor : 1\n{line}\n")
    assert instruction_sets("avx512_bf16", "amx_bf16", "avx2", "avx51", cpuinfo=cpuinfo) == ["avx512_bf16", "avx2"]


def test_elsewhere_none_is_known(tmp_path: Path) -> None:
    assert instruction_sets("avx2", cpuinfo=tmp_path / "nowhere") == []


def test_cores_are_counted_where_the_system_assigns_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == os.cpu_count()
