"""`make setup` does its work once, and again where it must; its commands are looked at, not run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


def make(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    ours = ("MAKE", "VENV", "PYTHON")  # of a `make test-second` that these tests may run in
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
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


def fake_python(folder: Path, name: str, version: tuple[int, int], serves: bool = True) -> None:
    """A command that says that it is a Python of this version, for all that the Makefile asks."""
    folder.mkdir(exist_ok=True)
    told = f"case \"$2\" in *print*) echo '{version}';; *venv*) exit {int(not serves)};; esac"
    (folder / name).write_text(f"#!/bin/sh\n{told}\n")
    (folder / name).chmod(0o755)


def test_the_newest_python_that_serves_is_taken(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is there and does not run, as pyenv leaves them, does not count; nor one without venv."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    shutil.rmtree(clone / ".venv")
    fake_python(tmp_path / "bin", "python3.11", (3, 11))
    fake_python(tmp_path / "bin", "python3.12", (3, 12))
    fake_python(tmp_path / "bin", "python3.13", (3, 13), serves=False)
    assert "python3.12 -m venv .venv " in make(clone, "-n", "setup").stdout
    fake_python(tmp_path / "bin", "python3.13", (3, 13))
    assert "python3.13 -m venv .venv " in make(clone, "-n", "setup").stdout


def test_another_python_that_is_asked_for_is_set_up_for(clone: Path, tmp_path: Path) -> None:
    asked_for = tmp_path / "bin" / "python3.12"
    fake_python(asked_for.parent, asked_for.name, (3, 12))
    (clone / ".venv" / "bin").mkdir()
    fake_python(clone / ".venv" / "bin", "python", (3, 11))
    commands = make(clone, "-n", "setup", f"PYTHON={asked_for}").stdout
    assert commands.startswith("rm -rf .venv\n")
    assert f"{asked_for} -m venv .venv " in commands
    beside = make(clone, "-n", "setup", f"PYTHON={asked_for}", "VENV=.venv-3.12").stdout
    assert "rm -rf .venv\n" not in beside
    assert f"{asked_for} -m venv .venv-3.12 " in beside
    fake_python(clone / ".venv" / "bin", "python", (3, 12))
    assert make(clone, "-q", "setup", f"PYTHON={asked_for}").returncode == 0


@pytest.mark.parametrize("python", ["python3.10", "nowhere"])
def test_a_python_that_does_not_serve_changes_nothing(clone: Path, python: str) -> None:
    done = make(clone, "setup", f"PYTHON={python}")
    assert done.returncode == 2
    assert f"{python} cannot be used: Python 3.11 to 3.13 with venv is needed" in done.stderr
    assert (clone / ".venv" / ".ready").exists()
