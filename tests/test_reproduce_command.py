"""`reproduce` from the outside: typed, interrupted, killed, repeated; its runs and files are looked at."""

import os
import signal
import sys
from typing import Any

import pandas as pd
import pytest

from tests.conftest import Project, finish, thorough, wait_until

TINY = ("dataset=digits", "model=basic_ann,basic_cnn", "recipe=quick")
FILES = {
    *("performance_comparison.csv", "performance_comparison.md", "pairs.csv", "left_out.csv", "report.html"),
    *("reference.csv", "reference.png", "reproduction.md"),
}


def reproduce(project: Project, *settings: str) -> Any:
    return project.start(sys.executable, "-m", "entrypoints.reproduce", *[f"--{setting}" for setting in settings])


def runs(project: Project) -> dict[str, Any]:
    """The runs of the experiment, by their network; the parent's is the empty one."""
    experiment = project.client.get_experiment_by_name("reproduction")
    found = list(project.client.search_runs([experiment.experiment_id])) if experiment else []
    by_model = {run.data.tags["model"] if run.data.tags["role"] == "final" else "": run for run in found}
    assert len(by_model) == len(found)
    return by_model


@thorough
def test_it_goes_on_where_it_was_interrupted_and_leaves_no_other_run(project: Project) -> None:
    """Ctrl-C in the first training, kill -9 in the second, then `mlflow run`."""
    process = reproduce(project, *TINY)
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    os.kill(process.pid, signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130
    assert errors.splitlines()[-1] == "interrupted; the same command goes on with it"
    assert "2 networks, seed 0, recipe quick, about" in errors
    assert "basic_ann on digits, 1 of 2, begins; " in errors
    first = runs(project)
    assert {name: run.info.status for name, run in first.items()} == {"": "KILLED", "basic_ann": "KILLED"}

    process = reproduce(project, *TINY)
    wait_until(lambda: "basic_cnn" in runs(project) and project.epochs_done() >= 2, process=process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    flags = [word for setting in TINY for word in ("-P", setting)]
    command = ("mlflow", "run", ".", "-e", "reproduce", "--env-manager", "local", *flags)
    code, output, errors = finish(project.start(*command))
    assert code == 0, errors
    assert "basic_ann on digits, 1 of 2, is trained already: " in errors
    assert "basic_cnn on digits, 2 of 2, goes on; " in errors
    assert "was cut off" not in errors
    wait_until(lambda: project.runs() == [])  # that of `mlflow run` is given up
    whole = runs(project)
    assert {name: run.info.status for name, run in whole.items()} == dict.fromkeys(
        ("", "basic_ann", "basic_cnn"), "FINISHED"
    )
    assert all(whole[name].info.run_id == run.info.run_id for name, run in first.items())
    assert not list((project.folder / "runs").iterdir())
    check_report(project, whole, output)


def check_report(project: Project, runs: dict[str, Any], output: str) -> None:
    folder, parent = project.folder / "reproduction", runs[""]
    assert {path.name for path in folder.iterdir()} == FILES
    artifacts = {file.path for file in project.client.list_artifacts(parent.info.run_id)}
    assert artifacts >= FILES
    assert f"open {folder / 'report.html'}; run {parent.info.run_id}" in output
    table = pd.read_csv(folder / "reference.csv")
    for row in table.to_dict("records"):
        accuracy = runs[row["model"]].data.metrics["test_accuracy"]
        assert row["test_accuracy"] == pytest.approx(accuracy)
        assert parent.data.metrics[f"test_accuracy/digits/{row['model']}"] == accuracy
        assert f"{accuracy:.2%}" in parent.data.tags["mlflow.note.content"]
    assert list(table["model"]) == ["basic_ann", "basic_cnn"]
    for run in (runs["basic_ann"], runs["basic_cnn"]):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert "The reference states nothing of these networks on these data sets." in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("dataset=digits", "model=resnet50"), "model=resnet50: reproduce trains none of these on digits, but only: "),
        (
            ("dataset=fashion_mnist", "model=basic_ann,resnet50"),
            "model=resnet50: reproduce does not train it on fashion_mnist; leave it out",
        ),
        (("seeds=0",), "seeds=0: must be 1 to 100 seeds, or a list of them such as 0,1,2"),
        (("recipe=fast",), "recipe=fast: "),
        (("dataset=digits", "output=/proc/none"), "output=/proc/none: cannot be made"),
        (("model=vgg16",), "model=vgg16: must be among basic_ann, basic_cnn, deeper_cnn, resnet50"),
    ],
)
def test_wrong_settings_open_no_run(project: Project, settings: tuple[str, ...], said: str) -> None:
    code, output, errors = finish(reproduce(project, *settings))
    assert (code, output) == (2, "")
    assert said in errors
    assert project.client.search_experiments()[0].name == "Default"
    assert project.runs() == []
