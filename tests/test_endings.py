"""How a command ends when something outside it does not go well: signals, disks, deaths, closed pipes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import LONGEST, Project, Server, finish, thorough, wait_until

LONG = ("epochs=300", "early_stopping_patience=0", "batch_size=8")
TRAIN = ("mlflow", "run", ".", "-e", "train", "--env-manager", "local")


def with_p(*settings: str) -> list[str]:
    return [word for setting in ("dataset=digits", "model=basic_ann", *settings) for word in ("-P", setting)]


def change(project: Project, path: str, old: str, new: str) -> None:
    """Change a line of the project's own copy of the code, to make a moment long enough to be hit."""
    project.forks = False
    file = project.folder / "src" / "imagelab" / path
    assert file.read_text().count(old) == 1
    file.write_text(file.read_text().replace(old, new))


def outbox_holds(project: Project, words: str) -> bool:
    return any(words in path.read_text() for path in (project.folder / "runs").glob("*/outbox.jsonl"))


def slow_model(project: Project) -> None:
    change(
        project,
        "tracking/delivery.py",
        '        self.existing(entry["path"])\n',
        '        time.sleep(4)\n        self.existing(entry["path"])\n',
    )


@pytest.mark.parametrize("owned_by_mlflow_run", [False, pytest.param(True, marks=thorough)])
def test_ctrl_c_while_finishing_is_killed_and_can_be_resumed(project: Project, owned_by_mlflow_run: bool) -> None:
    slow_model(project)
    process = project.start(*TRAIN, *with_p("epochs=2")) if owned_by_mlflow_run else project.train("epochs=2")
    wait_until(lambda: outbox_holds(project, "FINISHED"), process=process)
    os.killpg(process.pid, signal.SIGINT)
    code, output, errors = finish(process)
    assert (code == 130) is not owned_by_mlflow_run  # `mlflow run` has its own
    wait_until(lambda: project.runs()[0].info.status == "KILLED")
    (run,) = project.runs()
    run_id = run.info.run_id
    assert errors.count(f"interrupted; go on with: mlflow run . -e train --env-manager local -P resume={run_id}") == 1
    assert "tracking store" not in errors
    assert output == ""

    code, output, errors = finish(project.train(f"resume={run_id}"))
    assert code == 0, errors
    assert output.startswith(f"run {run_id}: best epoch ")
    run = project.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert not {"interrupted_by", "failure"} & set(run.data.tags)
    assert len(run.outputs.model_outputs) == 1
    assert not list((project.folder / "runs").iterdir())


@thorough
def test_two_ctrl_c_while_finishing_leave_no_run_running(project: Project) -> None:
    slow_model(project)
    process = project.train("epochs=2")
    wait_until(lambda: outbox_holds(project, "FINISHED"), process=process)
    process.send_signal(signal.SIGINT)
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130
    (run,) = project.runs()
    assert run.info.status == "KILLED"
    assert "interrupted; go on with: " in errors
    assert "tracking store" not in errors
    assert finish(project.train(f"resume={run.info.run_id}"))[0] == 0
    assert project.runs()[0].info.status == "FINISHED"


LOST = """
import signal, sys, time
from imagelab.signals import interruptible
from imagelab.errors import Interrupted

class Interrupting:
    def __del__(self):
        signal.raise_signal(getattr(signal, sys.argv[1]))

try:
    with interruptible():
        del [Interrupting()][0]
        print("lost", flush=True)
        time.sleep(20)
except Interrupted as interruption:
    print("noticed", interruption)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interruption_that_python_cannot_raise_is_not_lost(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST, name], capture_output=True, text=True, timeout=LONGEST, check=True
    )
    assert done.stdout.split() == ["lost", "noticed", name]
    assert done.stderr == ""


def test_a_runs_folder_that_cannot_be_made_leaves_no_run(project: Project) -> None:
    (project.folder / "runs").touch()
    code, _, errors = finish(project.train("epochs=1"))
    assert code == 1
    assert errors == f"train: the folder {project.folder / 'runs'} cannot be made (File exists)\n"
    assert not project.runs()


@thorough
def test_a_folder_that_is_deleted_while_training_fails_the_run_in_one_line(project: Project) -> None:
    process = project.train(*LONG)
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    (project.folder / "runs").rename(project.folder / "gone")  # at once: the run writes to it all the time
    shutil.rmtree(project.folder / "gone", ignore_errors=True)
    code, _, errors = finish(process)
    assert code == 1
    assert (
        len(
            [
                line
                for line in errors.splitlines()
                if "digits" not in line and "parameters" not in line and not line.startswith("epoch ")
            ]
        )
        == 1
    )
    assert "Traceback" not in errors
    (run,) = project.runs()
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"]


@thorough
def test_a_disk_that_takes_no_checkpoint_fails_the_run_and_says_how_to_go_on(project: Project) -> None:
    process = project.train("epochs=60", "early_stopping_patience=0")
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    (folder,) = (project.folder / "runs").glob("*/checkpoints")
    in_the_way = [folder / f"part-epoch-{epoch:05d}.keras" for epoch in range(5, 61)]
    for path in in_the_way:
        path.mkdir(exist_ok=True)
    code, _, errors = finish(process)
    (run,) = project.runs()
    assert code == 1
    assert run.info.status == "FAILED"
    last = errors.splitlines()[-1]
    assert last.startswith("train: IsADirectoryError")
    assert f"go on with: mlflow run . -e train --env-manager local -P resume={run.info.run_id}" in last
    for path in in_the_way:
        path.rmdir()
    code, _, errors = finish(project.train(f"resume={run.info.run_id}"))
    assert code == 0, errors
    assert "failure" not in project.runs()[0].data.tags


def test_a_run_whose_process_and_folder_are_gone_can_be_ended(project: Project) -> None:
    process = project.train(*LONG)
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    (run,) = project.runs()
    wait_until(lambda: "host" in project.runs()[0].data.tags, process=process)
    code, _, errors = finish(project.train(f"resume={run.info.run_id}"))
    assert (code, "another process is working on that run" in errors) == (2, True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    shutil.rmtree(project.folder / "runs")
    code, _, errors = finish(project.train(f"resume={run.info.run_id}"))
    assert code == 2
    assert "was cut off, and its folder is gone" in errors
    assert "has left no checkpoints" in errors
    assert project.runs()[0].info.status == "KILLED"


@thorough
def test_a_run_of_another_machine_is_left_alone_but_the_way_to_end_it_is_said(project: Project) -> None:
    run_id = project.client.create_run("0", tags={"host": "elsewhere", "pid": "1", "pid_started": "0"}).info.run_id
    code, _, errors = finish(project.train(f"resume={run_id}"))
    assert code == 2
    assert "is under way on elsewhere, process 1" in errors
    words = errors.split("python -c ")[1].strip().strip('"')
    done = project.start(sys.executable, "-c", words, MLFLOW_TRACKING_URI=project.uri)
    assert finish(done)[0] == 0
    assert project.client.get_run(run_id).info.status == "KILLED"


def test_ctrl_c_before_the_run_is_used_makes_it_killed(project: Project) -> None:
    begin = '    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")\n'
    change(project, "tracking/store.py", begin, f'{begin}    Path("begun").touch()\n    __import__("time").sleep(30)\n')
    process = project.start(*TRAIN, *with_p("epochs=2"))
    wait_until((project.folder / "begun").exists, process=process)
    os.killpg(process.pid, signal.SIGINT)
    assert finish(process)[0] != 0
    wait_until(lambda: [run.info.status for run in project.runs()] == ["KILLED"])


@pytest.mark.parametrize("setting", ["help=x", f"resume={'0' * 32}"])
def test_a_command_that_trains_nothing_leaves_no_run(project: Project, setting: str) -> None:
    process = project.start(*TRAIN, *with_p(setting))
    code, output, errors = finish(process)
    assert (code, output) == (1, "")  # our 2 is `mlflow run`'s 1
    assert sum(line.startswith("train: ") for line in errors.splitlines()) == 1
    wait_until(lambda: project.runs() == [])


@thorough
def test_sigterm_to_mlflow_run_alone_ends_its_training_too(project: Project) -> None:
    process = project.start(*TRAIN, *with_p(*LONG))
    wait_until(lambda: project.epochs_done() >= 1, process=process)
    os.kill(process.pid, signal.SIGTERM)
    _, _, errors = finish(process)
    wait_until(lambda: project.runs()[0].info.status == "KILLED")
    (run,) = project.runs()
    assert f"interrupted; go on with: mlflow run . -e train --env-manager local -P resume={run.info.run_id}" in errors
    assert run.data.tags["interrupted_by"] == "SIGTERM"


def test_nobody_who_reads_is_no_failure(project: Project) -> None:
    process = project.train("epochs=1")
    process.stdout.close()
    process.stderr.close()
    assert process.wait(LONGEST) == 0
    assert [run.info.status for run in project.runs()] == ["FINISHED"]


@thorough
def test_a_result_is_shown_even_if_the_store_has_gone(project: Project, server: Server) -> None:
    process = project.train(
        "epochs=40", "early_stopping_patience=0", "upload_patience=1", MLFLOW_TRACKING_URI=server.uri
    )
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    server.kill()
    code, output, errors = finish(process)
    assert (code, output) == (1, "")
    assert ", test accuracy " in errors.splitlines()[-2]
    assert errors.splitlines()[-1].startswith("train: the tracking store has not taken everything")


@thorough
def test_ctrl_c_ends_the_waiting_for_a_store_that_has_gone(project: Project, server: Server) -> None:
    settings = ("epochs=40", "early_stopping_patience=0", "upload_patience=500")
    process = project.train(*settings, MLFLOW_TRACKING_URI=server.uri)
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    server.kill()
    while "trying for 500 s (Ctrl-C ends that)" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130
    server.start()
    command = errors.split("interrupted; go on with: ")[1].splitlines()[0].split()
    code, output, errors = finish(project.start(*command, MLFLOW_TRACKING_URI=server.uri))
    assert code == 0, errors
    assert ", test accuracy " in output


def test_the_command_to_look_at_a_run_can_be_typed_as_it_is(tmp_path: Path) -> None:
    from imagelab.tracking.store import address_of

    shown = address_of(f"sqlite:///{tmp_path}/my runs; $HOME.db", "0", "1")
    assert f"mlflow ui --backend-store-uri 'sqlite:///{tmp_path}/my runs; $HOME.db', then " in shown
