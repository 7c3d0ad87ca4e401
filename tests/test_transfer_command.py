"""Transfer learning from the outside: MobileNetV2 on digits, typed as a command, killed, resumed, run twice at once."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest

from imagelab.data import load_dataset
from imagelab.features.feature_cache import FeatureSeconds, FeatureSet, load_or_compute
from imagelab.features.shards import ShardFormat
from tests.conftest import Project, finish, real_data, real_resnet50_weights, thorough, wait_until

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


@pytest.fixture
def typed(mobilenet_weights: str) -> list[str]:
    """Settings of a job of two phases that takes seconds."""
    words = f"model=mobilenet_v2 weights={mobilenet_weights} image_size=32 pooled_stages=1 epochs=3 batch_size=64"
    return [*words.split(), "mixed_precision=float32"]


FINE_TUNING = ("fine_tune_epochs=2", "fine_tune_at=block_16_expand")


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, str]:
    return {"IMAGELAB_FEATURE_CACHE": str(tmp_path / "features")}


def shards(cache: dict[str, str]) -> list[Path]:
    return sorted(Path(cache["IMAGELAB_FEATURE_CACHE"]).glob("*/[0-9]*.npy"))


def test_a_run_of_two_phases_holds_one_network_and_curves_without_a_break(
    project: Project, typed: list[str], cache: dict[str, str]
) -> None:
    code, _, errors = finish(project.train(*typed, *FINE_TUNING, "augmented_views=2", **cache))
    assert code == 0, errors
    (run,) = project.runs()
    run_id = run.info.run_id
    assert [step for step, _ in project.history(run_id, "val_loss")] == [1, 2, 3, 4, 5]
    assert run.data.tags["phase"] == "fine_tune"
    assert len(run.data.params["weights_digest"]) == 64
    assert run.data.metrics["feature_seconds"] > 0 == run.data.metrics["feature_seconds_saved"]
    assert run.data.metrics["feature_processor_seconds"] > 0
    assert len(shards(cache)) == 3 * 3 + 1  # three views of the training images, one of the test images
    curves = pd.read_csv(project.client.download_artifacts(run_id, "curves.csv"))
    assert curves["phase"].tolist() == ["head"] * 3 + ["fine_tune"] * 2

    mlflow.set_tracking_uri(project.uri)
    (output,) = run.outputs.model_outputs
    digits = load_dataset("digits").test
    probabilities = mlflow.keras.load_model(f"models:/{output.model_id}").predict(digits.images, verbose=0)
    accuracy = (probabilities.argmax(axis=1) == digits.labels).mean()
    assert accuracy == pytest.approx(run.data.metrics["test_accuracy"], abs=1e-9)


@thorough
def test_killed_in_the_feature_pass_and_in_fine_tuning_it_ends_as_if_nothing_had_happened(
    project: Project, typed: list[str], cache: dict[str, str], tmp_path: Path
) -> None:
    slower = [word.replace("image_size=32", "image_size=64") for word in typed] + list(FINE_TUNING)
    whole = project.train(*slower, IMAGELAB_FEATURE_CACHE=str(tmp_path / "other"))
    assert finish(whole)[0] == 0
    (reference,) = project.runs()

    killed = project.train(*slower, **cache)
    wait_until(lambda: shards(cache), process=killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = len(shards(cache))
    assert 1 <= kept < 4
    times = {path: path.stat().st_mtime_ns for path in shards(cache)}
    run_id = next(run.info.run_id for run in project.runs() if run.info.run_id != reference.info.run_id)

    resumed = project.train(f"resume={run_id}", **cache)
    wait_until(lambda: project.epochs_done() == 4, process=resumed)
    os.killpg(resumed.pid, signal.SIGKILL)
    resumed.wait()
    assert {path: path.stat().st_mtime_ns for path in times} == times  # finished shards were not made again

    code, _, errors = finish(project.train(f"resume={run_id}", **cache))
    assert code == 0, errors
    for name in CURVES:
        assert project.history(run_id, name) == project.history(reference.info.run_id, name), name
    scores = [project.client.get_run(one).data.metrics["test_accuracy"] for one in (run_id, reference.info.run_id)]
    assert scores[0] == scores[1]


@thorough
def test_two_runs_on_one_empty_cache_share_what_either_computes(
    project: Project, typed: list[str], cache: dict[str, str]
) -> None:
    both = [project.train(*typed, f"seed={seed}", **cache) for seed in (1, 2)]
    ends = [finish(process) for process in both]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert any("saved by features from the cache" in errors for _, _, errors in ends)
    assert len(shards(cache)) == 4
    runs = project.runs()
    assert sum(run.data.metrics["feature_seconds_saved"] for run in runs) > 0
    for run in runs:
        the_network_that_was_logged_says_what_was_reported(project, run)


def the_network_that_was_logged_says_what_was_reported(project: Project, run: Any) -> None:
    """Predictions were made from cached features by the head alone; those of the whole network are the same."""
    folder = project.client.download_artifacts(run.info.run_id, "evaluation")
    reported = pd.read_parquet(Path(folder) / "predictions.parquet")
    mlflow.set_tracking_uri(project.uri)
    network = mlflow.keras.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
    probabilities = network.predict(load_dataset("digits").test.images, verbose=0)
    np.testing.assert_allclose(reported["probability"], probabilities.max(axis=1), atol=1e-3)
    assert np.mean(reported["predicted"] == probabilities.argmax(axis=1)) > 0.99


def test_weights_of_another_network_are_refused_before_anything_is_trained(
    project: Project, typed: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "other.weights.h5"
    keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(path)
    words = [word for word in typed if not word.startswith("weights=")]
    code, output, errors = finish(project.train(*words, f"weights={path}"))
    assert code == 2
    assert not output
    assert "layer Conv1 has" in errors
    assert "Traceback" not in errors
    (run,) = project.runs()
    assert run.info.status == "FAILED"


@thorough
def test_a_run_goes_on_with_the_weights_it_began_with_or_not_at_all(
    project: Project, typed: list[str], cache: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.weights.h5"
    (theirs,) = [word.removeprefix("weights=") for word in typed if word.startswith("weights=")]
    shutil.copy(theirs, path)
    words = [word for word in typed if not word.startswith(("weights=", "epochs="))]
    stopped = project.train(*words, f"weights={path}", "epochs=500", "early_stopping_patience=0", **cache)
    wait_until(lambda: project.epochs_done() >= 2, process=stopped)
    stopped.send_signal(signal.SIGINT)
    assert finish(stopped)[0] == 130
    keras.utils.set_random_seed(7)
    keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(path)
    (run,) = project.runs()
    code, _, errors = finish(project.train(f"resume={run.info.run_id}", **cache))
    assert code == 2
    assert f"weights={path}: run {run.info.run_id} began with others" in errors


def test_the_cache_is_emptied_by_a_command(
    project: Project, cache: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGELAB_FEATURE_CACHE", cache["IMAGELAB_FEATURE_CACHE"])
    features = FeatureSet({"backbone": "x"}, ShardFormat(9, np.dtype(float)), [500], lambda number: np.zeros((500, 9)))
    load_or_compute([features], 1.0, FeatureSeconds())
    assert shards(cache)
    code, output, errors = finish(project.start(sys.executable, "-m", "entrypoints.empty_feature_cache"))
    assert code == 0, errors
    assert output == f"0.00 GiB freed in {cache['IMAGELAB_FEATURE_CACHE']}\n"
    assert not shards(cache)


@pytest.mark.thorough
def test_real_weights_on_real_data(project: Project, cache: dict[str, str]) -> None:
    """ResNet50 at 32 pixels; pixels fed to it without its own preprocessing give 12 %."""
    real_data("cifar100")
    weights = real_resnet50_weights()
    words = ["model=resnet50", "dataset=cifar100", f"weights={weights}", "image_size=32", "epochs=3"]
    code, _, errors = finish(project.train(*words, **cache))
    assert code == 0, errors
    (run,) = project.runs()
    metrics = run.data.metrics
    assert metrics["test_accuracy"] > 0.48
    assert metrics["test_top_5_accuracy"] > 0.77
    assert metrics["test_superclass_accuracy"] > 0.6
    assert 0.17 < metrics["test_errors_inside_superclass"] < 0.4
    artifacts = project.artifacts(run.info.run_id)
    assert {"evaluation/superclass_confusion_matrix.csv", "figures/superclass_confusion_matrix.png"} <= artifacts
