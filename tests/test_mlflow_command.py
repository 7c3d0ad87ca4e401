"""Paths under a real `mlflow run`, which starts its child in the project's folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from imagelab.mlflow_command import from_folder_typed_in
from tests.conftest import ROOT

SAY = "from pathlib import Path; import imagelab.mlflow_command as m; print(m.from_folder_typed_in(Path('here/a')))"


def test_a_relative_path_counts_from_the_folder_in_which_mlflow_run_was_typed(
    tmp_path: Path, empty_database: Path
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    (project / "MLproject").write_text(f'entry_points:\n  main:\n    command: "{sys.executable} -c \\"{SAY}\\""\n')
    shutil.copy(empty_database, elsewhere / "mlflow.db")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "mlflow", "run", "../project", "--env-manager", "local"]
    done = subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == [str(elsewhere / "here/a")], done.stderr


def test_without_mlflow_run_it_stays_as_it_is() -> None:
    assert from_folder_typed_in(Path("here/a")) == Path("here/a")
    assert from_folder_typed_in(Path("~/a")) == Path.home() / "a"
    assert from_folder_typed_in(Path("/a")) == Path("/a")
    assert from_folder_typed_in(Path("~nobody of this name/a")) == Path("~nobody of this name/a")
