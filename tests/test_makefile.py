"""`make setup` does its work once, and again where it must; its commands are looked at, not run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


def make(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which `make setup` was done."""
    folder = tmp_path / "my clone; é"
    (folder / ".venv").mkdir(parents=True)
    for name in ("uv.lock", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv" / ".ready").write_text(f"{folder.resolve()}\n")
    return folder


def test_a_second_setup_has_nothing_to_do(clone: Path) -> None:
    assert make(clone, "-q", "setup").returncode == 0


def test_the_setup_that_these_tests_run_in_is_done() -> None:
    if not (ROOT / ".venv" / ".ready").exists():
        pytest.skip("these tests run in an environment that `make setup` has not made")
    assert make(ROOT, "-q", "setup").returncode == 0


def test_a_new_lock_file_is_installed_into_what_is_there(clone: Path) -> None:
    os.utime(clone / "uv.lock", (2**31, 2**31))
    commands = make(clone, "-n", "train").stdout
    assert "uv sync" in commands
    assert "rm -rf .venv\n" not in commands


def test_a_clone_that_was_moved_is_set_up_anew(clone: Path) -> None:
    moved = clone.rename(clone.with_name("moved"))
    commands = make(moved, "-n", "train").stdout.splitlines()
    assert commands[0] == "rm -rf .venv"
    assert any("uv sync" in command for command in commands)
    assert commands[-1].startswith("mlflow run . -e train")


def test_a_fresh_clone_is_set_up(clone: Path) -> None:
    shutil.rmtree(clone / ".venv")
    commands = make(clone, "-n", "test").stdout.splitlines()
    assert any("uv sync" in command for command in commands)
    assert "rm -rf .venv" not in commands
