"""`-e ensemble`: of three small networks in three number formats, and of folds; promoted, asked, compared, refused."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss

from imagelab.comparison.compare import compare
from imagelab.data import load_dataset
from imagelab.data.split import SplitSpec
from imagelab.ensemble.ensemble import ensemble
from imagelab.ensemble.members import find_members
from imagelab.errors import ImagelabError, SettingsError
from imagelab.inspection.evaluate import evaluate
from imagelab.inspection.explain import explain_model
from imagelab.prediction.predict import predict
from imagelab.registry.overview import trained_models
from imagelab.registry.promotion import promote
from imagelab.settings import (
    CompareSettings,
    EnsembleSettings,
    EvaluateSettings,
    ExplainSettings,
    PredictSettings,
    PromoteSettings,
    TrainSettings,
    TuneSettings,
    parse,
)
from imagelab.tracking.resume import refuse_early
from imagelab.training.precision import POLICIES, is_kept_from
from tests.conftest import Project, finish, make_project, wait_until
from tests.prediction.prepared_models import digits

TRAIN = """
import sys
from imagelab.experiment import run_experiment
from imagelab.settings import TrainSettings, parse
for note, *flags in (words.split() for words in sys.argv[1:]):
    run_experiment(parse(TrainSettings, "train", ["--dataset=digits", f"--note={note}", *flags]))
"""
FORMATS = [name if not is_kept_from(policy) else "float32" for name, policy in POLICIES.items()]
TRAININGS = (
    f"plain --model=basic_ann --epochs=4 --mixed_precision={FORMATS[0]}",
    f"brief --model=basic_cnn --epochs=1 --mixed_precision={FORMATS[1]}",
    f"half --model=basic_ann --epochs=2 --seed=1 --mixed_precision={FORMATS[2]}",
)
MEMBERS = ("plain", "brief", "half")
DIGITS = load_dataset("digits")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Project]:
    project = make_project(tmp_path_factory.mktemp("ensemble") / "project", empty_database)
    code, _, errors = finish(project.start(sys.executable, "-c", TRAIN, *TRAININGS))
    assert code == 0, errors
    yield project
    project.end()


@pytest.fixture(autouse=True)
def in_the_project(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained.uri)
    monkeypatch.chdir(trained.folder)


@pytest.fixture(scope="module")
def ids(trained: Project) -> dict[str, str]:
    """The runs by their note."""
    return {run.data.tags["mlflow.note.content"].split("\n")[0]: run.info.run_id for run in trained.runs()}


def ensembled(project: Project, *settings: str) -> tuple[str, Any]:
    """What the command says, and its run."""
    said = ensemble(parse(EnsembleSettings, "ensemble", [f"--{setting}" for setting in settings]))
    (run,) = (run for run in project.runs() if said.startswith(f"run {run.info.run_id}: "))
    assert (run.info.status, run.data.tags["role"], run.data.tags["model"]) == ("FINISHED", "final", "ensemble")
    return said, run


@pytest.fixture(scope="module")
def made(trained: Project, ids: dict[str, str]) -> tuple[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", trained.uri)
        patch.chdir(trained.folder)
        return ensembled(trained, f"runs={','.join(ids[note] for note in MEMBERS)}")


def model_of(project: Project, run_id: str) -> str:
    (model,) = project.client.search_logged_models(["0"], f"source_run_id = '{run_id}'")
    return f"models:/{model.model_id}"


def answers_of(model_uri: str, images: np.ndarray) -> np.ndarray:
    """Probabilities by plain MLflow and Keras."""
    network = mlflow.pyfunc.load_model(model_uri).unwrap_python_model().network
    return np.asarray(network(images.astype(np.float32), training=False))


def table(run: Any, name: str) -> pd.DataFrame:
    return pd.read_csv(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/{name}"))


def kept_out() -> Any:
    return DIGITS.train.take(SplitSpec(0, 0.1).indices(DIGITS.train.labels)[1])


def test_the_network_that_is_logged_answers_with_the_mean_of_its_members(
    trained: Project, ids: dict[str, str], made: tuple[str, Any]
) -> None:
    run, images = made[1], DIGITS.test.images
    alone = [answers_of(model_of(trained, ids[note]), images) for note in MEMBERS]
    uri = model_of(trained, run.info.run_id)
    together = answers_of(uri, images)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-6)
    layers = mlflow.pyfunc.load_model(uri).unwrap_python_model().network.layers
    assert all(type(layer).__module__.startswith("keras.") for layer in layers)
    assert list(mlflow.pyfunc.load_model(uri).predict(images[:3])["label"]) == [
        DIGITS.class_names[number] for number in together[:3].argmax(axis=1)
    ]
    assert run.data.metrics["test_accuracy"] == pytest.approx(
        accuracy_score(DIGITS.test.labels, together.argmax(axis=1))
    )
    assert run.data.metrics["test_loss"] == pytest.approx(log_loss(DIGITS.test.labels, together), abs=1e-5)
    validation = kept_out()
    said = answers_of(uri, validation.images).argmax(axis=1)
    assert run.data.metrics["best_val_accuracy"] == pytest.approx(accuracy_score(validation.labels, said))


def test_its_run_holds_what_a_training_holds_and_how_it_stands_beside_its_members(
    trained: Project, ids: dict[str, str], made: tuple[str, Any]
) -> None:
    said, run = made
    plain = trained.client.get_run(ids["plain"])
    assert {name for name in plain.data.metrics if name.startswith("test_")} <= run.data.metrics.keys()
    theirs = {name for name in trained.artifacts(ids["plain"]) if name.split("/")[0] in ("evaluation", "figures")}
    theirs -= {"figures/curves.png", "figures/curves.html", "figures/samples.png"}
    ours = {name for name in trained.artifacts(run.info.run_id) if not name.startswith("images/")}
    own = {"members.csv", "diversity.csv", "figures/diversity.png"}
    assert ours == theirs | own | {"settings.json", "split.json", "model_summary.txt"}

    members = table(run, "members.csv")
    assert list(members["run_id"]) == [ids[note] for note in MEMBERS]
    assert members["weight"].to_numpy() == pytest.approx(1 / 3)
    counts = [trained.client.get_run(run_id).data.metrics["parameter_count"] for run_id in members["run_id"]]
    assert list(members["parameter_count"]) == counts
    assert run.data.metrics["parameter_count"] == sum(counts)
    scores = [trained.client.get_run(run_id).data.metrics["test_accuracy"] for run_id in members["run_id"]]
    assert members["test_accuracy"].to_numpy() == pytest.approx(scores, abs=0.01)  # in bfloat16, by other kernels
    best = members.loc[members["val_accuracy"].argmax()]
    accuracies = [f"{100 * each:.1f} %" for each in (run.data.metrics["test_accuracy"], best["test_accuracy"])]
    assert f"ensemble {accuracies[0]}, best member {accuracies[1]} (basic_ann {ids['plain'][:8]})" in said
    assert f"-P dataset=digits -P model=ensemble -P run_id={run.info.run_id}" in said
    assert f"-P run_id={run.info.run_id}" in run.data.tags["mlflow.note.content"]
    is_behind = run.data.metrics["best_val_accuracy"] < members["val_accuracy"].max()
    assert ("leave it at the best member" in said) == is_behind
    pairs = table(run, "diversity.csv")
    assert len(pairs) == 3
    errors = dict(zip(members["run_id"], 1 - members["test_accuracy"], strict=True))
    for pair in pairs.to_dict("records"):
        assert 0 <= pair["both_err"] <= min(errors[pair["first_run"]], errors[pair["second_run"]]) + 1e-9
        assert pair["disagree"] >= abs(errors[pair["first_run"]] - errors[pair["second_run"]]) - 1e-9


def test_validation_weights_have_less_log_loss_there(trained: Project, ids: dict[str, str]) -> None:
    names = ",".join(ids[note] for note in MEMBERS)
    _, run = ensembled(trained, f"runs={names}", "weights=validation", "note=mine")
    assert run.data.tags["mlflow.note.content"].startswith("mine\n\nEnsemble ")
    weights = table(run, "members.csv")["weight"]
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= 0
    validation = kept_out()
    alone = [answers_of(model_of(trained, ids[note]), validation.images) for note in MEMBERS]
    together = answers_of(model_of(trained, run.info.run_id), validation.images)
    np.testing.assert_allclose(together, np.tensordot(weights, alone, 1), atol=1e-6)
    assert log_loss(validation.labels, together) < log_loss(validation.labels, np.mean(alone, axis=0))


def test_it_is_promoted_asked_evaluated_explained_and_compared_as_any_other(
    trained: Project, ids: dict[str, str], made: tuple[str, Any], tmp_path: Path
) -> None:
    run_id = made[1].info.run_id
    with pytest.raises(SettingsError, match="that run is an ensemble, which begins anew"):
        refuse_early(TrainSettings(resume=run_id))
    assert ("digits", "ensemble") in [(row.dataset, row.model) for row in trained_models(trained.client)]
    said = promote(parse(PromoteSettings, "promote", ["--dataset=digits", "--model=ensemble", f"--run_id={run_id}"]))
    assert said.startswith("digits-ensemble version 1 is champion")

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, content in enumerate(digits(3)):
        (pictures / f"{number}.png").write_bytes(content)
    flags = ["--dataset=digits", "--model=ensemble", f"--images={pictures}", f"--output={tmp_path / 'labels.parquet'}"]
    predict(parse(PredictSettings, "predict", flags))
    labels = pd.read_parquet(tmp_path / "labels.parquet")["label"]
    wanted = answers_of("models:/digits-ensemble@champion", DIGITS.train.images[:3]).argmax(axis=1)
    assert list(labels) == [DIGITS.class_names[number] for number in wanted]

    said = evaluate(EvaluateSettings(model_uri="models:/digits-ensemble@champion"))
    assert "accuracy the same" in said
    said = explain_model(ExplainSettings(run_id=run_id, images_per_class=1, classes="3"))
    assert "ensemble on digits, test split: gradient times input" in said

    named = ",".join([run_id, *ids.values()])
    compare(CompareSettings(runs=named, output=tmp_path / "comparison"))
    shown = pd.read_csv(tmp_path / "comparison" / "performance_comparison.csv").set_index("run_ids")
    assert shown.loc[run_id, "model"] == "ensemble"
    assert shown.loc[run_id, "test_accuracy"] == pytest.approx(made[1].data.metrics["test_accuracy"])
    assert len(shown) == 4


def test_the_folds_below_a_parent_are_judged_by_images_that_none_of_them_has_seen(
    trained: Project, ids: dict[str, str]
) -> None:
    parent = forged(trained, ids["plain"], role="parent")
    for fold, note in enumerate(("plain", "half")):  # they become folds, for this once
        mark(trained, ids[note], SplitSpec(0, 0.1, fold=fold, folds=2), role="fold", **{"mlflow.parentRunId": parent})
    try:
        _, run = ensembled(trained, f"parent={parent}")
    finally:
        for note in ("plain", "half"):
            mark(trained, ids[note], SplitSpec(0, 0.1), role="final", **{"mlflow.parentRunId": "none"})
    assert list(table(run, "members.csv")["fold"]) == [0, 1]
    split = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/split.json"))
    assert split == {"split_seed": 0, "validation_fraction": 0.1, "limit": None, "fold": None, "folds": None}
    validation = kept_out()
    said = answers_of(model_of(trained, run.info.run_id), validation.images).argmax(axis=1)
    assert run.data.metrics["best_val_accuracy"] == pytest.approx(accuracy_score(validation.labels, said))


def test_the_best_of_an_experiment_are_those_with_the_highest_validation_accuracy(
    trained: Project, ids: dict[str, str], made: tuple[str, Any]
) -> None:
    with pytest.raises(SettingsError, match="best=20: experiment=Default has . finished trainings of one data set"):
        ensemble(EnsembleSettings(best=20, experiment="Default"))
    found = find_members(trained.client, EnsembleSettings(best=2, experiment="Default"))
    ranked = sorted(
        (each for each in trained.runs() if each.info.run_id in {ids[note] for note in MEMBERS}),
        key=lambda each: -each.data.metrics["best_val_accuracy"],
    )
    assert [member.run_id for member in found] == [each.info.run_id for each in ranked[:2]]


def mark(project: Project, run_id: str, split: SplitSpec, **tags: str) -> None:
    project.client.log_text(run_id, split.to_json(), "split.json")
    for name, value in tags.items():
        project.client.set_tag(run_id, name, value)


def forged(project: Project, like: str, split: dict[str, Any] | None = None, **tags: str) -> str:
    """A finished run like another one, with other tags, another split, and a model that nobody can load."""
    client, known = project.client, project.client.get_run(like).data.tags
    kept = {name: known[name] for name in ("dataset", "model", "dataset_digest", "settings", "role")}
    status = tags.pop("status", "FINISHED")
    run_id = str(client.create_run("0", tags={**kept, **tags}).info.run_id)
    client.log_text(
        run_id, SplitSpec(**{"split_seed": 0, "validation_fraction": 0.1, **(split or {})}).to_json(), "split.json"
    )
    if tags.get("role") != "trial":
        client.finalize_logged_model(client.create_logged_model("0", "model", run_id).model_id, "READY")
    client.set_terminated(run_id, status)
    return run_id


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"role": "trial"}, "runs=RUN: is a trial of a study"),
        ({"role": "evaluation"}, "runs=RUN: is no training, but a run of the role evaluation"),
        ({"role": "parent"}, "runs=RUN: is the parent of other runs; give parent=RUN"),
        ({"model": "ensemble"}, "runs=RUN: is an ensemble; name the runs that it is made of"),
        ({"status": "KILLED"}, "runs=RUN: is KILLED; an ensemble is made of finished trainings"),
        (
            {"dataset_digest": "0" * 64},
            r"runs: run RUN was trained on digits \(digest 000000000000\), run .* of one data",
        ),
        ({"dataset": "cifar100"}, "runs: run RUN was trained on cifar100"),
        (
            {"split": {"split_seed": 5}},
            "have kept out other validation images .*; split_seed 5, validation_fraction 0.1",
        ),
        ({"split": {"limit": 900}}, "have kept out other validation images .*validation_fraction 0.1, limit 900"),
    ],
)
def test_what_does_not_go_together_is_refused_before_a_run_is_opened(
    trained: Project, ids: dict[str, str], changed: dict[str, Any], said: str
) -> None:
    run_id = forged(trained, ids["plain"], **changed)
    refuse(trained, said.replace("RUN", run_id), runs=f"{ids['plain']},{run_id}")


def refuse(project: Project, said: str, **settings: Any) -> None:
    before = len(project.runs())
    with pytest.raises(SettingsError, match=said) as error:
        ensemble(EnsembleSettings(**settings))
    assert "\n" not in str(error.value)
    assert len(project.runs()) == before


def test_runs_that_are_not_there_and_parents_of_too_few_are_refused(trained: Project, ids: dict[str, str]) -> None:
    missing = "0" * 32
    refuse(trained, f"runs={missing}: the tracking store has no such run", runs=f"{ids['plain']},{missing}")
    refuse(trained, f"parent={ids['plain']}: is no parent of other runs", parent=ids["plain"])
    parent = forged(trained, ids["plain"], role="parent")
    refuse(trained, f"parent={parent}: has 0 finished trainings below it", parent=parent)
    killed = forged(trained, ids["plain"], role="parent", status="KILLED")
    refuse(trained, f"parent={killed}: is KILLED; type its own command again", parent=killed)
    refuse(trained, "experiment=none: the tracking store has no such experiment", best=2, experiment="none")


def test_classes_in_another_order_are_refused(trained: Project, ids: dict[str, str]) -> None:
    """As a model logged by a version whose table of classes was another one."""
    (model,) = trained.client.search_logged_models(["0"], f"source_run_id = '{ids['half']}'")
    path = Path(model.artifact_location) / "MLmodel"
    text = path.read_text()
    other = text.replace("- '0'\n      - '1'", "- '1'\n      - '0'")
    assert other != text
    path.write_text(other)
    try:
        refuse(trained, f"run {ids['half']}: its classes are other ones", runs=f"{ids['plain']},{ids['half']}")
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "runs, parent, best: none is given; for example -P runs=RUN_ID,RUN_ID"),
        (["--runs=" + "1" * 32], "must be 2 to 20 run ids joined by commas"),
        (["--runs=" + ",".join(["1" * 32] * 2)], "names a run twice"),
        (["--runs=" + ",".join(f"{number:032x}" for number in range(21))], "must be 2 to 20 run ids"),
        (["--runs=1,2"], "must be an MLflow run id"),
        (["--best=3"], "best=3: needs the experiment to look in; give experiment=NAME"),
        (["--best=1", "--experiment=a"], "best=1"),
        (["--best=3", "--parent=" + "1" * 32], "and best=3: give one of them"),
        (["--parent=" + "1" * 32, "--dataset=digits"], "dataset=digits: has no effect without best"),
    ],
)
def test_a_wrong_setting_is_one_line_that_helps(flags: list[str], said: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(EnsembleSettings, "ensemble", flags)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [TrainSettings, TuneSettings])
def test_an_ensemble_is_not_trained(kind: Any) -> None:
    with pytest.raises(
        ImagelabError, match="model=ensemble: is not trained: it is made of finished runs, by mlflow run"
    ):
        parse(kind, "train", ["--model=ensemble"])


def test_ctrl_c_leaves_a_killed_run_and_the_same_command_begins_anew(trained: Project, ids: dict[str, str]) -> None:
    command = (sys.executable, "-m", "entrypoints.ensemble", f"--runs={ids['plain']},{ids['half']}")

    def begun() -> list[Any]:
        running = "attributes.status = 'RUNNING' and tags.phase = 'ensemble'"
        return list(trained.client.search_runs(["0"], running))

    process = trained.start(*command)
    wait_until(begun, process=process)
    (run,) = begun()
    os.kill(process.pid, signal.SIGINT)
    code, _, errors = finish(process)
    assert (code, errors.splitlines()[-1]) == (130, "interrupted; the same command begins anew")
    assert trained.client.get_run(run.info.run_id).info.status == "KILLED"
    assert not list((trained.folder / "runs").iterdir())
    code, output, errors = finish(trained.start(*command))
    assert code == 0, errors
    assert "ensemble" in output
    assert not begun()
