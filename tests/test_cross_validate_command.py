"""`cross_validate` from the outside: typed, interrupted, killed, repeated; its runs and files are looked at."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from imagelab.comparison.selection import select
from imagelab.data import load_dataset
from imagelab.data.split import SplitSpec
from imagelab.errors import SettingsError
from imagelab.label_audit import AUDITED
from imagelab.registry.candidates import named_run
from imagelab.registry.overview import final_runs_best_first
from imagelab.settings import CompareSettings, CrossValidateSettings, TrainSettings, name_of, parse
from imagelab.tracking import split_of
from imagelab.tracking.repeatable_parent import find_unfinished
from tests.conftest import Project, finish, thorough, wait_until
from tests.test_replicates_command import parents
from tests.test_train_command import curves_of

TINY = ("epochs=6", "early_stopping_patience=0", "mixed_precision=float32", "batch_size=16", "folds=2")
OUT_OF_FOLD = "evaluation/out_of_fold.parquet"


def cross_validate(project: Project, *settings: str) -> Any:
    flags = [f"--{setting}" for setting in ("dataset=digits", "model=basic_ann", *settings)]
    return project.start(sys.executable, "-m", "entrypoints.cross_validate", *flags)


def folds(project: Project, parent_id: str) -> list[Any]:
    """The runs below a parent, in the order of their folds."""
    found = project.client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{parent_id}'")
    return sorted(found, key=lambda run: run.data.tags["fold"])


def table_of(run: Any, name: str = OUT_OF_FOLD) -> pd.DataFrame:
    path = Path(f"{run.info.artifact_uri}/{name}")
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


@thorough
def test_folds_go_on_as_if_never_interrupted(project: Project) -> None:
    """Ctrl-C in the first fold, kill -9 in the second, which is gone on with by hand."""
    code, output, errors = finish(cross_validate(project, "note=mine", *TINY))
    assert code == 0, errors
    (whole,) = parents(project)
    check_finished(project, whole, output, errors)
    check_that_folds_are_no_candidates(project, folds(project, whole.info.run_id))

    process = cross_validate(project, *TINY)  # a finished parent begins anew
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    os.kill(process.pid, signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130
    assert errors.splitlines()[-1] == "interrupted; the same command goes on with it"
    (parent,) = [run for run in parents(project) if run.info.run_id != whole.info.run_id]
    parent_id = parent.info.run_id
    (first,) = folds(project, parent_id)
    assert (parent.info.status, first.info.status) == ("KILLED", "KILLED")

    process = cross_validate(project, *TINY)
    wait_until(lambda: len(folds(project, parent_id)) == 2 and project.epochs_done() >= 2, process=process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, _, errors = finish(project.train(f"resume={folds(project, parent_id)[1].info.run_id}"))
    assert code == 0, errors

    code, _, errors = finish(cross_validate(project, *TINY))
    assert code == 0, errors
    assert "fold 1, 2 of 2, is trained already: accuracy " in errors
    assert len(project.runs()) == 6  # two parents, four folds
    assert {run.info.status for run in project.runs()} == {"FINISHED"}
    resumed = folds(project, parent_id)
    assert resumed[0].info.run_id == first.info.run_id
    for run, again in zip(folds(project, whole.info.run_id), resumed, strict=True):
        assert again.data.tags["role"] == "fold"
        assert curves_of(project, run.info.run_id) == curves_of(project, again.info.run_id)
    pd.testing.assert_frame_equal(table_of(whole), table_of(project.client.get_run(parent_id)), check_exact=True)
    assert not list((project.folder / "runs").iterdir())


def check_finished(project: Project, parent: Any, output: str, errors: str) -> None:
    """That a parent with two folds, and the note `mine`, says all there is to know of them."""
    runs = folds(project, parent.info.run_id)
    metrics = parent.data.metrics
    assert parent.data.params["folds"] == "2"
    assert [(run.data.tags["role"], run.data.tags["fold"]) for run in runs] == [("fold", "0"), ("fold", "1")]
    for metric in ("fold_accuracy", "test_accuracy", "best_val_accuracy"):
        values = [run.data.metrics[metric] for run in runs]
        assert project.history(parent.info.run_id, metric) == list(enumerate(values))
        assert metrics[f"{metric}_mean"] == pytest.approx(np.mean(values))
        assert metrics[f"{metric}_std"] == pytest.approx(np.std(values, ddof=1))
    assert list(table_of(parent, "folds.csv")["run_id"]) == [run.info.run_id for run in runs]
    check_predictions(project, parent, runs)
    accuracy = table_of(parent)["correct"].mean()
    assert metrics["out_of_fold_accuracy"] == pytest.approx(accuracy) and accuracy > 0.5
    confusion = table_of(parent, "evaluation/confusion_matrix.csv").set_index("true").to_numpy()
    assert np.trace(confusion) / confusion.sum() == pytest.approx(accuracy)
    assert "figures/confusion_matrix.png" in project.artifacts(parent.info.run_id)
    name = "basic_ann, digits, epochs 6, batch size 16, early stopping patience 0, mixed precision float32"
    assert [run.info.run_name for run in (parent, *runs)] == [f"{name}, {e}" for e in ("2 folds", "fold 0", "fold 1")]

    mean, std = metrics["fold_accuracy_mean"], metrics["fold_accuracy_std"]
    assert output.startswith(f"run {parent.info.run_id}: 2 folds: accuracy {mean:.2%} +- {std:.2%}, test accuracy ")
    for said in (output, parent.data.tags["mlflow.note.content"]):
        assert f"out-of-fold accuracy {accuracy:.2%}" in said
        assert "-e train --env-manager local -P dataset=digits -P model=basic_ann -P epochs=6 " in said
    assert parent.data.tags["mlflow.note.content"].startswith("mine\n\nAccuracy ")
    assert "promote" not in runs[0].data.tags["mlflow.note.content"]
    for line in ("fold 0, 1 of 2, begins", "fold 0, 1 of 2, is done: accuracy ", "fold 1, 2 of 2, begins; "):
        assert f"\n{line}" in errors


def check_predictions(project: Project, parent: Any, runs: list[Any]) -> None:
    """That each image to learn from is predicted once, by the network of its fold."""
    digits, table = load_dataset("digits").train, table_of(parent)
    learn, choose = SplitSpec(0, 0.1).indices(digits.labels)
    assert list(table["index"]) == list(learn)
    assert list(table["label"]) == list(digits.labels[learn])
    mlflow.set_tracking_uri(project.uri)
    for number, run in enumerate(runs):
        split = split_of(project.client, run)
        assert split == SplitSpec(0, 0.1, fold=number, folds=2)
        assert list(split.indices(digits.labels)[1]) == list(choose)
        rows = table[table["fold"] == number]
        assert list(rows["index"]) == list(split.fold_indices(digits.labels))
        network = mlflow.keras.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
        said = np.stack(rows["probabilities"].to_list())
        np.testing.assert_allclose(said, network.predict(digits.images[rows["index"]], verbose=0), atol=1e-6)
        assert said.dtype == np.float32
        assert list(rows["predicted"]) == list(said.argmax(axis=1))
        assert run.data.metrics["fold_accuracy"] == pytest.approx(rows["correct"].mean())


@thorough
def test_a_finished_one_is_audited_without_training_anew(project: Project) -> None:
    settings = (*TINY[1:], "epochs=2", "limit=400", "note=mine")
    code, output, errors = finish(cross_validate(project, *settings))
    assert code == 0, errors
    assert "audit" not in output
    (before,) = parents(project)
    assert not {name for name in project.artifacts(before.info.run_id) if name.startswith("audit/")}

    code, output, errors = finish(cross_validate(project, *settings, "audit=true"))
    assert code == 0, errors
    assert "fold 0, 1 of 2, is trained already: accuracy " in errors
    assert len(project.runs()) == 3
    (parent,) = parents(project)
    check_audit(project, parent)
    assert parent.info.status == "FINISHED"
    assert "audit=" not in output
    for metric in ("fold_accuracy", "out_of_fold_accuracy"):  # logged a second time, as the same points
        assert len(project.history(parent.info.run_id, metric)) == (2 if metric == "fold_accuracy" else 1)
    old, new = (run.data.tags["mlflow.note.content"] for run in (before, parent))
    assert old.startswith("mine\n\nAccuracy ")
    found = next(part for part in output.split("; ") if part.startswith("label audit: "))
    assert new == f"{old}\n\nL{found[1:]}; see `audit/`."
    identity = {key: parent.data.tags[key] for key in ("phase", "settings", "dataset_digest")}
    assert find_unfinished(project.client, identity, AUDITED) is None  # the next one begins anew
    assert find_unfinished(project.client, identity, "another tag") == parent.info.run_id


def check_audit(project: Project, parent: Any) -> None:
    """That a parent of the first 400 digits has the tables and pictures of its audit, and their counts."""
    files = {"audit/label_errors.csv", "audit/duplicates.csv", "audit/outliers.csv"}
    files |= {"figures/label_errors.png", "figures/duplicates.png"}
    assert files <= project.artifacts(parent.info.run_id)
    answers = table_of(parent).set_index("index")
    errors, copies = (table_of(parent, f"audit/{name}.csv") for name in ("label_errors", "duplicates"))
    assert len(errors) > 0
    found = answers.loc[errors["index"]]
    quality = [said[label] for said, label in zip(found["probabilities"], found["label"], strict=True)]
    assert errors["label_quality"].to_numpy() == pytest.approx(quality, abs=1e-6)
    assert errors["label"].to_numpy().tolist() == found["label"].to_numpy().tolist()  # a digit's name is its number
    assert errors["predicted"].to_numpy().tolist() == found["predicted"].to_numpy().tolist()
    assert table_of(parent, "audit/outliers.csv")["index"].max() < 400
    assert copies["training_index"].dropna().lt(400).all()
    metrics = parent.data.metrics
    assert metrics["label_errors"] == len(errors)
    assert metrics["duplicates_train"] + metrics["duplicates_train_test"] == len(copies)


def check_that_folds_are_no_candidates(project: Project, runs: list[Any]) -> None:
    assert list(final_runs_best_first(project.client)) == []
    run_id = runs[0].info.run_id
    with pytest.raises(SettingsError, match=f"run_id={run_id}: is a fold of a cross-validation, .* train its settings"):
        named_run(project.client, run_id, "digits", "basic_ann")
    tags = {"role": "evaluation", "evaluated_run": run_id, "dataset": "digits", "model": "basic_ann"}
    calibrated = project.client.create_run("0", tags=tags).info.run_id
    project.client.log_metric(calibrated, "temperature", 1.2)
    project.client.set_terminated(calibrated)
    with pytest.raises(SettingsError, match=f"run_id={calibrated}: is a fold of a cross-validation"):
        named_run(project.client, calibrated, "digits", "basic_ann")
    project.client.delete_run(calibrated)
    with pytest.raises(SettingsError, match="no finished training that the filters find"):
        select(project.client, CompareSettings())
    with pytest.raises(SettingsError, match="has the role fold"):
        select(project.client, CompareSettings(runs=",".join(run.info.run_id for run in runs)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("folds=50", "limit=40"), "folds=50: must be at most 36, as there are no more images to learn from"),
        (("augmentation=flip", "model=vgg16"), "augmentation=flip: has no effect on a frozen backbone"),
    ],
)
def test_what_cannot_be_split_or_trained_opens_no_run(project: Project, settings: tuple[str, ...], said: str) -> None:
    given = [f"--{setting}" for setting in ("dataset=digits", *settings)]
    code, output, errors = finish(project.start(sys.executable, "-m", "entrypoints.cross_validate", *given))
    assert (code, output) == (2, "")
    assert errors.splitlines()[-1].startswith(f"cross_validate: {said}")
    assert project.runs() == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("folds=1", "folds=1: input should be greater than or equal to 2 (allowed: a whole number >= 2 and <= 50)"),
        ("folds=51", "folds=51: input should be less than or equal to 50"),
        ("seeds=3", "--seeds=3: there is no setting named 'seeds'; did you mean seed?"),
        ("resume=x", "--resume=x: there is no setting named 'resume'"),
    ],
)
def test_wrong_settings_are_one_line(typed: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(CrossValidateSettings, "cross_validate", [f"--{typed}"])
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_train_has_no_folds() -> None:
    with pytest.raises(SettingsError, match="^--folds=5: there is no setting named 'folds'"):
        parse(TrainSettings, "train", ["--folds=5"])


def test_a_fold_is_trained_with_the_settings_of_one_training() -> None:
    settings = CrossValidateSettings(dataset="digits", epochs=2, folds=3, note="mine", audit=True)
    assert settings.of_training() == TrainSettings(dataset="digits", epochs=2, note="mine")
    assert name_of(settings) == "basic_cnn, digits, epochs 2"
    assert '"folds":3' in settings.with_recipe().as_tag()
    assert "audit" not in settings.with_recipe().as_tag()
