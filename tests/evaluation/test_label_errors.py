"""The audit of a data set, on digits in which something was made wrong on purpose."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from imagelab.data import load_dataset
from imagelab.data.dataset import Split
from imagelab.evaluation.label_errors import ImageIndex, duplicates, likely_label_errors, outliers
from imagelab.evaluation.scores import Evaluation

DIGITS = load_dataset("digits")
NAMES = DIGITS.class_names


def audited(training: Split, test: Split) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The copies, and the outliers."""
    index = ImageIndex(training)
    among = index.neighbours()
    return duplicates(index, test, NAMES, among), outliers(training, NAMES, among)


def put(images: np.ndarray, changed: dict[int, np.ndarray]) -> np.ndarray:
    """The images, with others at some places."""
    images = images.copy()
    for place, image in changed.items():
        images[place] = image
    return images


def test_labels_that_were_flipped_are_found() -> None:
    chance = np.random.default_rng(0)
    labels = DIGITS.train.labels.copy()
    flipped = np.sort(chance.choice(len(labels), 70, replace=False))
    labels[flipped] = (labels[flipped] + chance.integers(1, 10, 70)) % 10
    pixels = DIGITS.train.images.reshape(len(labels), -1) / 255
    said = cross_val_predict(KNeighborsClassifier(20), pixels, labels, cv=5, method="predict_proba")
    errors = likely_label_errors(Evaluation(labels, said.astype(np.float32), NAMES), 1000 + np.arange(len(labels)))

    is_flipped = np.isin(errors["index"] - 1000, flipped)
    assert is_flipped.sum() >= 0.8 * len(flipped)
    assert is_flipped.mean() > 0.8
    assert is_flipped[:40].mean() > 0.9
    assert (errors["label_quality"].diff().dropna() >= 0).all()
    places = errors["index"].to_numpy()[is_flipped] - 1000
    assert list(errors["label"][is_flipped]) == [NAMES[label] for label in labels[places]]
    truth = [NAMES[label] for label in DIGITS.train.labels[places]]
    assert (errors["predicted"][is_flipped] == truth).mean() > 0.9
    assert errors["confidence"].to_numpy() == pytest.approx(said.max(axis=1)[errors["index"] - 1000])


def test_classes_without_images_are_no_trouble() -> None:
    labels = np.arange(60) % 3
    said = np.full((60, 10), 0.01, np.float32)
    said[np.arange(60), labels] = 0.91
    said[7, [1, 2]] = 0.01, 0.91  # the label is 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        errors = likely_label_errors(Evaluation(labels, said, NAMES), np.arange(60))
    assert list(errors["index"]) == [7]
    assert (errors["label"][0], errors["predicted"][0]) == (NAMES[1], NAMES[2])


def test_copies_are_found_inside_the_training_images_and_across() -> None:
    """Exact ones, darker ones and ones with a little noise; none where nothing was copied."""
    training, test = DIGITS.train.take(slice(300)), DIGITS.test.take(slice(50))
    before, _ = audited(training, test)
    assert before.empty

    noise = np.random.default_rng(0).integers(0, 6, training.images[0].shape)
    changed = {0: training.images[10], 1: training.images[20] // 2, 2: training.images[30] // 2 + noise}
    test = Split(put(test.images, changed), np.concatenate([training.labels[[10, 20, 30]], test.labels[3:]]))
    labels = training.labels.copy()
    labels[200] = (training.labels[100] + 1) % 10
    training = Split(put(training.images, {200: training.images[100]}), labels)
    found, _ = audited(training, test)

    places = ["split", "index", "training_index", "exact", "same_label"]
    first = found.loc[0, places].tolist()
    assert first == ["train", 200, 100, True, False]  # once, and above the others for its other label
    assert found.loc[0, "similarity"] == 1
    others = found.iloc[1:].sort_values("index")[places].to_numpy().tolist()
    assert others == [["test", 0, 10, True, True], ["test", 1, 20, False, True], ["test", 2, 30, False, True]]
    assert found["similarity"].between(0.995, 1).all()
    assert list(found["label"]) == [
        NAMES[(training if split == "train" else test).labels[index]]
        for split, index in found[["split", "index"]].values
    ]


def test_blank_images_are_copies_of_each_other_alone() -> None:
    blank = np.full_like(DIGITS.train.images[0], 7)
    training = DIGITS.train.take(slice(60))
    found, _ = audited(Split(put(training.images, {5: blank}), training.labels), Split(blank[None], np.array([0])))
    assert found[["split", "index", "training_index", "exact"]].to_numpy().tolist() == [["test", 0, 5, True]]


def test_large_images_are_compared_by_their_coarse_pixels() -> None:
    """These have another side each, neither of which is a multiple of what they are made smaller by."""
    images = np.random.default_rng(0).integers(0, 256, (40, 101, 130, 3)).astype(np.uint8)
    images[3] = 0.9 * images[8]
    training = Split(images, np.zeros(40, int))
    assert ImageIndex(training).patterns.shape == (40, 33 * 43 * 3)
    found, _ = audited(training, training.take(slice(1)))
    pairs = set(zip(found["split"], found["index"], found["training_index"], found["exact"], strict=True))
    assert pairs == {("train", 8, 3, False), ("test", 0, 0, True)}


def test_what_is_like_nothing_else_is_the_first_outlier() -> None:
    training = DIGITS.train.take(slice(400))
    odd = np.random.default_rng(0).integers(0, 256, training.images[0].shape)
    _, found = audited(Split(put(training.images, {123: odd}), training.labels), DIGITS.test)
    assert (found.loc[0, "index"], found.loc[0, "label"]) == (123, NAMES[training.labels[123]])
    assert found.loc[0, "mean_distance"] > 1.2 * found.loc[1, "mean_distance"]
    assert len(found) == 100 and (found["mean_distance"].diff().dropna() <= 0).all()
