"""`train -P seeds=...` from the outside: typed, interrupted, killed, repeated; the runs are looked at."""

import io
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imagelab.registry.overview import final_runs_best_first
from tests.conftest import Project, finish, thorough, wait_until
from tests.test_train_command import AT_THE_END, curves_of

TINY = ("epochs=6", "early_stopping_patience=0", "mixed_precision=float32", "batch_size=16")


def parents(project: Project) -> list[Any]:
    return list(project.client.search_runs(["0"], "tags.role = 'parent'"))


def children(project: Project, parent_id: str) -> dict[str, Any]:
    """The runs below a parent, by their seed."""
    found = project.client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{parent_id}'")
    by_seed = {run.data.tags["seed"]: run for run in found}
    assert len(by_seed) == len(found)
    return by_seed


def final_figures(run: Any) -> dict[str, float]:
    return {name: run.data.metrics[name] for name in AT_THE_END - {"training_seconds", "training_processor_seconds"}}


@thorough
def test_replicates_go_on_as_if_never_interrupted(project: Project) -> None:
    """Ctrl-C in the first training, kill -9 in the second; the whole project has no run that is not named here."""
    code, output, errors = finish(project.train("seeds=0,3", "note=mine", *TINY))
    assert code == 0, errors
    (whole,) = parents(project)
    check_finished(project, whole, output, errors)

    process = project.train("seeds=3,0", *TINY)  # in any order; a finished parent begins anew
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    os.kill(process.pid, signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130
    assert errors.splitlines()[-1] == "interrupted; the same command goes on with it"
    (parent,) = [run for run in parents(project) if run.info.run_id != whole.info.run_id]
    parent_id = parent.info.run_id
    first = children(project, parent_id)["0"]
    assert (parent.info.status, first.info.status) == ("KILLED", "KILLED")

    process = project.train("seeds=0,3", *TINY)
    wait_until(lambda: "3" in children(project, parent_id) and project.epochs_done() >= 2, process=process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert project.client.get_run(parent_id).info.status == "RUNNING"  # nobody could say that it died

    settings = ("dataset=digits", "model=basic_ann", "seeds=0,3", *TINY)
    flags = [word for setting in settings for word in ("-P", setting)]
    code, output, errors = finish(project.start("mlflow", "run", ".", "-e", "train", "--env-manager", "local", *flags))
    assert code == 0, errors
    assert "seed 0, 1 of 2, is trained already" in errors
    assert "was cut off" not in errors
    wait_until(lambda: len(project.runs()) == 6)  # two parents, four children: the run of `mlflow run` went
    assert {run.info.status for run in project.runs()} == {"FINISHED"}
    resumed = children(project, parent_id)
    assert resumed["0"].info.run_id == first.info.run_id
    for seed, run in children(project, whole.info.run_id).items():
        assert curves_of(project, run.info.run_id) == curves_of(project, resumed[seed].info.run_id)
        assert final_figures(run) == final_figures(resumed[seed])
    assert not list((project.folder / "runs").iterdir())


def check_finished(project: Project, parent: Any, output: str, errors: str) -> None:
    """That a parent with the seeds 0 and 3, and the note `mine`, says all there is to know of its children."""
    by_seed = children(project, parent.info.run_id)
    assert set(by_seed) == {"0", "3"}
    assert {run.info.status for run in (parent, *by_seed.values())} == {"FINISHED"}
    name = "basic_ann, digits, epochs 6, batch size 16, early stopping patience 0, mixed precision float32"
    names = [run.info.run_name for run in (parent, by_seed["0"], by_seed["3"])]
    assert names == [f"{name}, {end}" for end in ("2 seeds", "seed 0", "seed 3")]
    assert parent.data.params["seeds"] == "0,3"
    assert not {"seed", "resume"} & set(parent.data.params)
    for seed, run in by_seed.items():
        assert run.data.params["seed"] == seed
        assert not {"seeds", "class_names", "superclass_of"} & set(run.data.params)
        assert run.data.tags["role"] == "final"
        assert run.data.tags["mlflow.note.content"].startswith("mine\n\nTest accuracy **")
        assert (
            f"-e promote --env-manager local -P dataset=digits -P model=basic_ann -P run_id={run.info.run_id}"
            in (run.data.tags["mlflow.note.content"])
        )
    for metric in AT_THE_END:
        values = [by_seed[seed].data.metrics[metric] for seed in ("0", "3")]
        assert project.history(parent.info.run_id, metric) == list(zip((0, 3), values, strict=True))
        assert parent.data.metrics[f"{metric}_mean"] == pytest.approx(np.mean(values))
        assert parent.data.metrics[f"{metric}_std"] == pytest.approx(np.std(values, ddof=1))
    table = pd.read_csv(io.StringIO(Path(f"{parent.info.artifact_uri}/replicates.csv").read_text()))
    assert list(table["run_id"]) == [by_seed[str(seed)].info.run_id for seed in table["seed"]]
    assert {run.info.run_id for run in final_runs_best_first(project.client)} == set(table["run_id"])

    best = table["run_id"][table["best_val_accuracy"].argmax()]
    mean, std = (parent.data.metrics[f"test_accuracy_{name}"] for name in ("mean", "std"))
    said = f"test accuracy {mean:.2%} +- {std:.2%}"
    assert output.startswith(f"run {parent.info.run_id}: 2 seeds: {said}")
    for words in ("(n = 2)", f"-P run_id={best}; look at it: "):
        assert words in output
    assert parent.data.tags["mlflow.note.content"].startswith(f"mine\n\n{said[0].upper()}{said[1:]}")
    for line in ("seed 0, 1 of 2, begins", "seed 0, 1 of 2, is done: ", "seed 3, 2 of 2, begins; "):
        assert f"\n{line}" in errors


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("seeds=3", "seed=0"), "seed=0: does not go with seeds=0,1,2"),
        (("seeds=3", "augmentation=flip", "model=vgg16"), "augmentation=flip: has no effect on a frozen backbone"),
    ],
)
def test_wrong_settings_open_no_run(project: Project, settings: tuple[str, ...], said: str) -> None:
    code, output, errors = finish(project.train(*settings))
    assert (code, output) == (2, "")
    assert said in errors
    assert project.runs() == []
