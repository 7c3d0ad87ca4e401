"""Progressive resizing: which size an epoch has, what its batches are, and what is trained, kept and gone on with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from imagelab.data.batches import make_training_batches
from imagelab.data.mixing import NOTHING, Mixing
from imagelab.data.split import SplitSpec
from imagelab.errors import Interrupted
from imagelab.training import Checkpoints, FitEvents, Fitter, RisingRate
from imagelab.training.checkpoints import Row
from imagelab.training.loop import predict
from tests.conftest import thorough
from tests.training.plans import DIGITS, SPLITS, make_plan, whole_and_interrupted

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
SMALL = {"model": "small_resnet", "progressive": "4:6:8", "epochs": 3, "batch_size": 32, "learning_rate": 0.003}


@pytest.fixture
def fitter() -> Fitter:
    return Fitter(DIGITS, SplitSpec(split_seed=0, validation_fraction=0.25, limit=400), feature_cache_limit=1)


@pytest.mark.parametrize(
    ("progressive", "epochs", "sizes"),
    [
        ("none", 3, []),
        ("4:8", 2, [4, 8]),
        ("4:8", 5, [4, 4, 8, 8, 8]),
        ("16:24:32", 6, [16, 16, 24, 24, 32, 32]),
        ("16:24:32", 20, [16] * 6 + [24] * 7 + [32] * 7),
        ("4:5:6:7:8", 9, [4, 5, 5, 6, 6, 7, 7, 8, 8]),
    ],
)
def test_each_size_has_an_equal_part_of_the_epochs(progressive: str, epochs: int, sizes: list[int]) -> None:
    assert make_plan(progressive=progressive, epochs=epochs).sizes == sizes


def batches_of(epoch: int, sizes: list[int], **changes: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    at = tf.Variable(epoch, dtype=tf.int64)
    made = make_training_batches(SPLITS[0], 10, 500, 0, at, sizes=sizes, **changes)
    return list(made.as_numpy_iterator())


@pytest.mark.parametrize("mixing", [NOTHING, Mixing(mixup=0.4, until=1)], ids=["plain", "mixup"])
def test_the_batches_of_an_epoch_have_its_size_and_the_same_pictures(mixing: Mixing) -> None:
    sizes, changes = make_plan(progressive="4:8", epochs=2).sizes, {"augmentation": "flip+shift", "mixing": mixing}
    for epoch, size in enumerate(sizes):
        for (images, targets), (whole, labels) in zip(
            batches_of(epoch, sizes, **changes), batches_of(epoch, [], **changes), strict=True
        ):
            assert images.shape == (len(whole), size, size, 1)
            assert images.dtype == np.float32
            np.testing.assert_array_equal(targets, labels)
            halved = whole.astype(np.float32).reshape(-1, size, 8 // size, size, 8 // size, 1).mean((2, 4))
            likeness = np.corrcoef(images.ravel(), halved.ravel())[0, 1]
            assert likeness > (0.95 if size == 4 else 1 - 1e-6)
            assert images.min() >= 0 and images.max() <= 255
    np.testing.assert_allclose(images, whole, atol=1e-3)  # the last size is the images' own


def test_whole_images_are_validated_and_the_kept_network_takes_them(fitter: Fitter, tmp_path: Path) -> None:
    plan, checkpoints = make_plan(**{**SMALL, "epochs": 9}), Checkpoints(tmp_path)
    networks: list[keras.Model] = []

    def interrupt(row: Row) -> None:
        if row["epoch"] == 6:
            raise Interrupted

    with pytest.raises(Interrupted):
        fitter.fit(plan, checkpoints, FitEvents(on_epoch=interrupt))
    assert checkpoints.best_row["epoch"] == 1  # the next five were no better; still it goes on
    fitter.fit(plan, checkpoints, FitEvents(on_network=networks.append))
    assert len(checkpoints.rows) == 9
    assert checkpoints.best_row["epoch"] > 6
    assert networks[0].input_shape == (None, None, None, 1)
    best = fitter.best_network(plan, checkpoints)
    assert best.input_shape == (None, 8, 8, 1)
    val_split = fitter.splits[1]
    accuracy = (predict(best, val_split).argmax(1) == val_split.labels).mean()
    assert accuracy == pytest.approx(checkpoints.best_row["val_accuracy"], abs=1e-6)
    assert accuracy > 0.8
    plain = Checkpoints(tmp_path / "plain")
    fitter.fit(replace(plan, progressive="none", epochs=1), plain, FitEvents())
    assert plain.rows[0]["loss"] != checkpoints.rows[0]["loss"]


def curves_and_weights(checkpoints: Checkpoints) -> tuple[list[list[float]], list[bytes]]:
    network = keras.saving.load_model(checkpoints.best_path, compile=False)
    rows = [[row[name] for name in CURVES] for row in checkpoints.rows]
    return rows, [weight.tobytes() for weight in network.get_weights()]


@thorough
def test_it_goes_on_after_each_size_as_if_never_interrupted(fitter: Fitter, tmp_path: Path) -> None:
    others = {"mixup": 0.4, "augmentation": "flip", "ema": 0.9, "stochastic_depth": 0.3}
    plan = make_plan(**SMALL, **others, early_stopping_patience=1)
    whole, parts = whole_and_interrupted(fitter, plan, tmp_path)
    assert curves_and_weights(parts) == curves_and_weights(whole)


def test_a_network_of_any_size_begins_with_the_same_weights(fitter: Fitter) -> None:
    plan = make_plan(**SMALL)
    for one, other in zip(*(fitter.build(plan, "float32", any_).get_weights() for any_ in (True, False)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_picture_of_a_batch_shows_the_first_size(fitter: Fitter) -> None:
    images, targets = fitter.first_batch(make_plan(**SMALL))
    assert (images.shape, targets.shape) == ((32, 4, 4, 1), (32, 10))
    assert make_plan(**SMALL).changes_images


def test_a_search_for_a_rate_looks_at_whole_images(fitter: Fitter) -> None:
    rising = RisingRate(1e-6, 1e-3, 5, lambda step: None)
    networks: list[keras.Model] = []
    fitter.try_rates(make_plan(**SMALL), rising, FitEvents(on_network=networks.append))
    assert len(rising.done) == 5
    assert networks[0].input_shape == (None, 8, 8, 1)
