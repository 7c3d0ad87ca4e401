"""A reproduction in this process: what is trained, what is said of the time, what stands beside the reference."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imagelab.comparison.comparison import Comparison
from imagelab.comparison.results import Results
from imagelab.comparison.selection import Selection
from imagelab.comparison.training import Configuration, Training
from imagelab.data.fashion_mnist import CLASS_NAMES
from imagelab.errors import SettingsError
from imagelab.recipes import STRENGTHS
from imagelab.reference import GAPS, MODELS_OF, REFERENCE, stated_of
from imagelab.reproduction import time_needed
from imagelab.reproduction.beside import beside_of
from imagelab.reproduction.report import reproduction_of, text_of, write_reference_files
from imagelab.reproduction.reproduce import planned_trainings
from imagelab.settings import ReproduceSettings, parse
from imagelab.tracking import use_own_experiment
from tests.conftest import ROOT
from tests.results_table import KEPT, results_table


def test_every_network_of_the_reference_is_trained_with_its_recipe() -> None:
    settings = parse(ReproduceSettings, "reproduce", ["--recipe", "quick", "--seeds", "2"])
    assert settings.pairs == [(each.dataset, each.model) for each in REFERENCE]
    trainings = settings.trainings()
    assert len(trainings) == 12
    assert [(each.model, each.seed) for each in trainings[-2:]] == [("resnet50", 0), ("resnet50", 1)]
    assert {each.recipe for each in trainings} == {"quick"}
    assert settings.record()["dataset"] == "fashion_mnist,cifar100"


def test_the_same_settings_are_the_same_reproduction_wherever_the_report_goes() -> None:
    one = ReproduceSettings(dataset="digits", model="basic_ann,basic_cnn", note="mine")
    other = ReproduceSettings(dataset="digits", model="basic_cnn,basic_ann", upload_patience=1)
    assert one.as_tag() == other.as_tag()
    assert one.as_tag() != ReproduceSettings(dataset="digits", model="basic_cnn").as_tag()
    assert ReproduceSettings().as_tag() != ReproduceSettings(recipe="quick").as_tag()


def test_networks_beyond_the_reference_are_trained_where_they_are_named_or_the_recipe_is_best() -> None:
    cell = ("cifar100", "small_resnet")
    assert cell not in ReproduceSettings().pairs
    assert cell in ReproduceSettings(recipe="best").pairs
    assert ReproduceSettings(dataset="cifar100", model="small_resnet").pairs == [cell]
    assert cell not in ReproduceSettings(recipe="best", model="basic_cnn").pairs


def test_the_table_of_the_reference_fits_together() -> None:
    assert all(each.model in MODELS_OF[each.dataset] for each in REFERENCE)
    assert all(stated_of(gap.dataset, model) for gap in GAPS for model in (gap.better, gap.other))
    assert stated_of("digits", "basic_ann") is None


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_work_of_every_training_is_known(strength: str) -> None:
    work = [
        time_needed.work_of(training.with_recipe(), with_features=True)
        for dataset in (None, "digits")
        for training in ReproduceSettings(recipe=strength, dataset=dataset).trainings()
    ]
    assert min(work) > 0
    assert strength != "quick" or sum(work) < 2 * 15 * 60  # 15 minutes on two cores


def test_only_the_first_seed_computes_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_needed, "seconds_of_earlier", lambda *_: None)
    monkeypatch.setattr(time_needed, "convolution_speed", lambda: time_needed.SPEED)
    trainings = ReproduceSettings(model="resnet50", seeds="2").trainings()
    first, second = time_needed.time_needed(None, trainings).seconds  # type: ignore[arg-type]
    assert first - second == time_needed.FEATURES


def test_what_is_trained_already_is_not_said_to_take_time(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ReproduceSettings(dataset="digits", model="basic_ann,basic_cnn")
    needed = time_needed.TimeNeeded([60.0, 120.0], "known")
    left = planned_trainings(settings, needed)[1:]
    time_needed.say_what_comes(settings, left, needed.source)
    said = capsys.readouterr().err
    assert "1 of 2 trainings left, " in said
    assert "about 2 min" in said
    assert "basic_ann" not in said


def made_comparison() -> Comparison:
    """Two networks on Fashion-MNIST: the CNN takes every tenth shirt for a T-shirt, the ANN every second."""
    labels = np.repeat(np.arange(10), 20)
    names, predictions, configurations = np.array(CLASS_NAMES), {}, []
    for model, every in (("basic_cnn", 10), ("basic_ann", 2)):
        predicted = labels.copy()
        shirts = np.flatnonzero(labels == CLASS_NAMES.index("Shirt"))
        predicted[shirts[::every]] = CLASS_NAMES.index("T-shirt/top")
        columns = {"label": labels, "class": names[labels], "predicted": predicted, "predicted_class": names[predicted]}
        predictions[model] = pd.DataFrame({**columns, "correct": predicted == labels})
        accuracy = float((predicted == labels).mean())
        metrics = {"test_accuracy": accuracy, "best_val_accuracy": accuracy, "parameter_count": 1000.0}
        training = Training(model, model, {"dataset": "fashion_mnist", "model": model}, "d", metrics, 0)
        configurations.append(Configuration((training,), model))
    return Comparison(Selection(configurations, []), configurations, Results(predictions), [], [])


def test_every_seed_counts_in_their_order_whatever_the_page_has_room_for() -> None:
    comparison = made_comparison()
    [trained] = comparison.selection.configurations[0].trainings
    seeds = [replace(trained, settings={**trained.settings, "seed": seed}) for seed in (2, 0, 1)]
    each = [Configuration((training,), str(training.seed)) for training in seeds]
    shown = replace(comparison, selection=Selection(each, []), compared=each[:1])
    [row] = beside_of(ReproduceSettings(seeds="3", model="basic_cnn", dataset="fashion_mnist"), shown)
    assert row.ours.seeds == [0, 1, 2]


def test_each_figure_and_finding_of_the_reference_stands_beside_ours(tmp_path: Any) -> None:
    reproduction = reproduction_of(ReproduceSettings(recipe="quick"), made_comparison())
    assert [row.model for row in reproduction.rows] == ["basic_ann", "basic_cnn"]
    findings = {row["finding"]: row for row in reproduction.findings}
    assert findings["CNN over ANN"]["stated"] == "3 to 4 points"
    assert findings["CNN over ANN"]["its own recipe"] == "+2.0 points"
    assert findings["CNN over ANN"]["ours"].startswith("+4.0 points: ")
    hard = findings["hard to tell apart"]["ours"]
    assert "Shirt and T-shirt/top: 2 of 40 images taken for the other, place 1 of 45 pairs" in hard
    assert "Coat and Pullover: never confused" in hard
    assert "Bag 100.0 % (place 1 of 10)" in findings["easy classes"]["ours"]
    assert {path.name for path in write_reference_files(reproduction, tmp_path)} == {
        *("reference.csv", "reference.png", "reproduction.md")
    }
    text = text_of(reproduction)
    for said in ("about 91 % | 90.2 % (13 epochs) | 99.00 % | +8.0 points", "recipe=quick is a first look"):
        assert said in text
    table = pd.read_csv(tmp_path / "reference.csv")
    assert list(table["test_accuracy"]) == [0.95, 0.99]


def test_a_reproduction_has_an_experiment_of_its_own_unless_another_is_named(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert use_own_experiment(client, "reproduction") == ""
    assert os.environ["MLFLOW_EXPERIMENT_NAME"] == "mine"
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")  # as `mlflow run` says it where no experiment is named
    assert use_own_experiment(client, "reproduction") == ""
    own = os.environ["MLFLOW_EXPERIMENT_ID"]
    assert client.get_experiment(own).name == "reproduction"
    client.delete_experiment(own)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    with pytest.raises(SettingsError, match="reproduction is deleted"):
        use_own_experiment(client, "reproduction")


def test_the_readme_has_the_table_of_the_kept_reproduction() -> None:
    assert results_table() in (ROOT / "README.md").read_text()
    assert set(pd.read_csv(KEPT)["recipe"]) <= set(STRENGTHS)
