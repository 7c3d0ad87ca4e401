"""TensorFlow must not be imported before what it reads at its import is set."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagelab.keras_startup import ONEDNN, are_kernels_fast, prefer_fast_kernels
from tests.conftest import ROOT

SOURCE = ROOT / "src" / "imagelab"


def calls_start_keras(path: Path) -> bool:
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Name) and called.id == "start_keras" for called in calls)


def test_what_starts_keras_has_not_imported_it_before() -> None:
    modules = [
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        for path in sorted(SOURCE.rglob("*.py"))
        if calls_start_keras(path)
    ]
    assert "imagelab.commands" in modules
    script = (
        f"import sys, {', '.join(modules)}; print([name for name in ('keras', 'tensorflow') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
    imported = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert imported.strip() == "[]"


@pytest.mark.parametrize("given", ["0", "1"])
def test_the_user_decides_on_onednn(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(ONEDNN, given)
    prefer_fast_kernels()
    assert os.environ[ONEDNN] == given


def test_tensorflow_says_what_it_was_told() -> None:
    """A private name of TensorFlow tells it: this fails when that name or its meaning changes."""
    assert are_kernels_fast() == (os.environ[ONEDNN] == "1")
