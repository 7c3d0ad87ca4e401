"""Distillation: the loss, which images the teacher is asked about, what a student learns, going on after a cut."""

from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax

from imagelab.data.batches import make_training_batches
from imagelab.data.mixing import Mixing
from imagelab.data.split import SplitSpec
from imagelab.data.taught_images import TaughtImages
from imagelab.distillation import refuse_early
from imagelab.errors import DataError, SettingsError
from imagelab.experiment import run_experiment
from imagelab.features import Teacher
from imagelab.fit_from_settings import load_fitter
from imagelab.replication import train
from imagelab.settings import TrainSettings
from imagelab.tracking import use_tracking_store
from imagelab.training import Checkpoints, FitEvents, Fitter
from imagelab.training.distillation_loss import DistillationLoss
from tests.conftest import Project
from tests.training.plans import DIGITS, make_plan, whole_and_interrupted

SPLIT = SplitSpec(split_seed=0, validation_fraction=0.25, limit=700)  # a shard and a part of one
TAUGHT = {"teacher": "some", "distillation_weight": 0.9, "distillation_temperature": 2.0}


@dataclass
class Projection:
    """A teacher that answers by a fixed projection of the pixels, and counts what it is asked."""

    asked: int = 0
    matrix: np.ndarray = field(default_factory=lambda: np.random.default_rng(5).normal(0, 0.4, (64, 10)))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.asked += len(images)
        probabilities: np.ndarray = softmax(images.reshape(len(images), -1) / 64 @ self.matrix, axis=1)
        return probabilities.astype(np.float32)


@pytest.fixture
def teacher() -> Projection:
    return Projection()


@pytest.fixture
def fitter(teacher: Projection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fitter:
    monkeypatch.setenv("IMAGELAB_FEATURE_CACHE", str(tmp_path / "features"))
    return make_fitter(teacher)


def make_fitter(teacher: Projection, model_id: str = "m-1") -> Fitter:
    return Fitter(DIGITS, SPLIT, feature_cache_limit=1, teacher=Teacher(model_id, teacher))


@pytest.mark.parametrize(("weight", "temperature", "smoothing"), [(0.3, 4.0, 0.0), (1.0, 1.0, 0.0), (0.5, 2.0, 0.1)])
def test_the_loss_is_that_of_hinton(weight: float, temperature: float, smoothing: float) -> None:
    chance = np.random.default_rng(0)
    teacher, student = chance.normal(0, 2, (2, 6, 5))
    labels = np.eye(5)[chance.integers(0, 5, 6)]
    soft = softmax(teacher / temperature, 1)
    divergence = (soft * (np.log(soft) - log_softmax(student / temperature, 1))).sum(1).mean()
    smooth = labels * (1 - smoothing) + smoothing / 5
    usual = -(smooth * log_softmax(student, 1)).sum(1).mean()
    loss = DistillationLoss(weight, temperature, smoothing)
    targets = np.concatenate([labels, softmax(teacher, 1)], axis=1).astype(np.float32)
    probabilities = softmax(student, 1).astype(np.float32)
    expected = (1 - weight) * usual + weight * temperature**2 * divergence
    assert float(loss(targets, probabilities)) == pytest.approx(expected, rel=1e-4)
    assert float(loss(targets[:, :5], probabilities)) == pytest.approx(usual, rel=1e-4)  # validation images


@pytest.mark.parametrize(("augmentation", "views"), [("none", 1), ("flip", 2), ("flip+shift", 8)])
def test_the_student_sees_the_views_that_the_teacher_has_answered(
    fitter: Fitter, teacher: Projection, augmentation: str, views: int
) -> None:
    taught = fitter.learned_from(make_plan(augmentation=augmentation, **TAUGHT))
    assert isinstance(taught, TaughtImages)
    assert (len(taught.views), teacher.asked) == (views, 700 * views)
    train_split = fitter.splits[0]
    np.testing.assert_array_equal(taught.images[0], train_split.images)
    assert len({view.tobytes() for view in taught.images}) == views
    if views > 1:
        np.testing.assert_array_equal(taught.images[1], train_split.images[:, :, ::-1])
    seen: list[tuple[bytes, int]] = []
    for epoch in range(3):
        at = tf.Variable(epoch, dtype=tf.int64)
        for images, targets in make_training_batches(taught, 10, 100, 0, at):
            np.testing.assert_allclose(targets[:, 10:], teacher(images.numpy()), rtol=1e-5)
            seen += pairs(images.numpy(), targets.numpy()[:, :10].argmax(1))
    shown = {pair for view in taught.images for pair in pairs(view, taught.labels)}
    assert set(seen) <= shown
    assert len(seen) == 3 * len(train_split)
    assert len(set(seen)) > (1.5 if views > 1 else 0.9) * len(train_split)


def pairs(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    return [(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)]


@pytest.mark.parametrize("mixing", [Mixing(mixup=1.0, until=9), Mixing(cutmix=1.0, until=9)], ids=["mixup", "cutmix"])
def test_answers_are_mixed_as_labels_are(mixing: Mixing) -> None:
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 10, 64)
    images = chance.integers(0, 256, (1, 64, 8, 8, 1), np.uint8)
    taught = TaughtImages(images, np.eye(10, dtype=np.float32)[labels][None], labels)  # the teacher knows the labels
    _, targets = next(iter(make_training_batches(taught, 10, 64, 0, tf.Variable(0, dtype=tf.int64), mixing=mixing)))
    np.testing.assert_allclose(targets[:, :10], targets[:, 10:], atol=1e-6)
    assert (np.asarray(targets[:, :10]).max(1) < 0.99).mean() > 0.3


def test_the_teacher_is_asked_once_and_another_one_anew(fitter: Fitter, teacher: Projection) -> None:
    plan = make_plan(augmentation="flip", **TAUGHT)
    first = fitter.learned_from(plan)
    assert teacher.asked == 1400
    assert fitter.learned_from(plan) is first
    again = make_fitter(teacher).learned_from(plan)  # another process finds the answers on disk
    assert teacher.asked == 1400
    assert isinstance(first, TaughtImages) and isinstance(again, TaughtImages)
    np.testing.assert_array_equal(again.answers, first.answers)
    make_fitter(teacher, "m-2").learned_from(plan)
    assert teacher.asked == 2800


def test_answers_that_are_no_numbers_are_not_kept(fitter: Fitter, teacher: Projection) -> None:
    fitter.teacher = Teacher("m-3", lambda images: np.full((len(images), 10), np.nan, np.float32))
    with pytest.raises(DataError, match="the teacher returned NaN"):
        fitter.learned_from(make_plan(**TAUGHT))
    assert make_fitter(teacher, "m-3").learned_from(make_plan(**TAUGHT))
    assert teacher.asked == 700


def test_the_student_learns_what_the_teacher_says_and_is_scored_by_labels(
    fitter: Fitter, teacher: Projection, tmp_path: Path
) -> None:
    plan = make_plan(epochs=12, early_stopping_patience=0, **{**TAUGHT, "distillation_weight": 1.0})
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    fitter.fit(plan, checkpoints, FitEvents())
    network = keras.saving.load_model(checkpoints.path_of(12), compile=False)
    train_split = fitter.splits[0]
    said = network.predict(train_split.images, verbose=0).argmax(1)
    teachers = teacher(train_split.images).argmax(1)
    assert (teachers == train_split.labels).mean() < 0.4
    assert (said == teachers).mean() > 0.8
    row = checkpoints.rows[-1]
    val_said = network.predict(fitter.splits[1].images, verbose=0).argmax(1)
    assert row["val_accuracy"] == pytest.approx((val_said == fitter.splits[1].labels).mean(), abs=1e-6)
    assert row["accuracy"] < 0.4  # of the labels


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_it_goes_on_after_each_epoch_as_if_never_interrupted(fitter: Fitter, tmp_path: Path, mixup: float) -> None:
    plan = make_plan(epochs=3, augmentation="flip+shift", mixup=mixup, mix_off_epochs=1 if mixup else 0, **TAUGHT)
    whole, parts = whole_and_interrupted(fitter, plan, tmp_path)
    assert [row["val_loss"] for row in parts.rows] == [row["val_loss"] for row in whole.rows]
    assert [row["loss"] for row in parts.rows] == [row["loss"] for row in whole.rows]


def test_a_student_of_a_run_records_the_model_that_has_taught_it(
    project: Project, client: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGELAB_FEATURE_CACHE", str(project.folder / "features"))
    usual = {"dataset": "digits", "model": "basic_ann", "epochs": 2, "limit": 300, "mixed_precision": "float32"}
    teacher = run_experiment(TrainSettings.model_validate(usual))
    said = train(TrainSettings.model_validate({**usual, "seed": 1, "teacher": teacher.run_id, "augmentation": "flip"}))
    store = use_tracking_store()
    (student,) = [run for run in project.runs() if run.info.run_id != teacher.run_id]
    (output,) = store.get_run(teacher.run_id).outputs.model_outputs
    assert student.info.run_id in said
    assert student.data.params["teacher"] == f"models:/{output.model_id}"
    assert student.data.params["distillation_temperature"] == "4.0"
    for other, why in (({"split_seed": 1}, "has learned from other images"), ({"dataset": "cifar100"}, "not cifar100")):
        with pytest.raises(SettingsError, match=why):
            train(TrainSettings.model_validate({**usual, **other, "teacher": teacher.run_id}))
    other_split = TrainSettings.model_validate({**usual, "split_seed": 1, "teacher": teacher.run_id}).with_recipe()
    with pytest.raises(SettingsError, match="split_seed 0, validation_fraction 0.1, limit 300; this training: split_s"):
        load_fitter(other_split)  # as a notebook may call it
    assert len(project.runs()) == 2
    store.delete_run(teacher.run_id)
    with pytest.raises(SettingsError, match=f"teacher={teacher.run_id}: is deleted; restore it"):
        refuse_early(TrainSettings.model_validate({**usual, "teacher": teacher.run_id}))
    assert "figures/training_batch.png" in project.artifacts(student.info.run_id, "figures")
