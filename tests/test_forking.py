"""Commands in forked processes do what they do in new ones."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.conftest import Project, finish, start
from tests.forking.process import ForkedProcess, prepared

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands of tests are forked on Linux only")
TRAIN = (sys.executable, "-m", "entrypoints.train")


@pytest.mark.parametrize("flags", [["--help"], ["--epochs=0"], ["epochs=3"]], ids=["help", "wrong", "no flag"])
def test_exit_code_output_and_errors_are_the_same(flags: list[str], project: Project) -> None:
    forked = project.start(*TRAIN, *flags, COLUMNS="80")
    project.forks = False
    new = project.start(*TRAIN, *flags, COLUMNS="80")
    assert isinstance(forked, ForkedProcess)
    assert not isinstance(new, ForkedProcess)
    assert finish(forked) == finish(new)


def test_a_process_has_its_own_session_folder_and_environment(project: Project) -> None:
    process = project.train("epochs=9999", "early_stopping_patience=0", MLFLOW_TRACKING_URI=project.uri)
    assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid
    assert Path(f"/proc/{process.pid}/cwd").resolve() == project.folder.resolve()
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == process.poll() == process.returncode == -signal.SIGKILL


def test_who_is_killed_before_it_has_asked_stops_nobody_else(project: Project) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(prepared().path)
    code, _, errors = finish(project.start(*TRAIN, "--help"))
    assert code == 0, errors


def test_what_is_read_at_import_and_mlflow_run_need_new_processes(project: Project, tmp_path: Path) -> None:
    other = {**os.environ, "KERAS_HOME": str(tmp_path)}
    run = ("mlflow", "run", str(tmp_path / "nowhere"))
    for command, environment in (((*TRAIN, "--help"), other), (run, dict(os.environ))):
        process = start(command, tmp_path, environment)
        assert not isinstance(process, ForkedProcess)
        finish(process)


def test_the_prepared_interpreter_has_started_no_operation_of_tensorflow() -> None:
    """Its threads are those of the libraries of linear algebra, which know of forks, and one that waits."""
    tasks = Path(f"/proc/{prepared().process.pid}/task").iterdir()
    assert len(list(tasks)) < 4 + 2 * (os.cpu_count() or 1)
