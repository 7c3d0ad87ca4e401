from pathlib import Path

import numpy as np
import pytest

from imagelab.data import DATASETS, IMAGE_SIZES, find_dataset, load_dataset, num_classes_of
from imagelab.data.dataset import Dataset, Split
from imagelab.errors import DataError
from tests.conftest import real_data


def make_split(n: int = 100, classes: int = 4) -> Split:
    labels = np.arange(n) % classes
    return Split(np.broadcast_to(labels[:, None, None, None], (n, 2, 2, 1)).astype(np.uint8), labels)


def test_digits_need_no_network() -> None:
    digits = load_dataset("digits")
    assert (digits.image_shape, digits.num_classes, len(digits.train), len(digits.test)) == ((8, 8, 1), 10, 1437, 360)
    assert digits.num_classes == num_classes_of("digits")
    assert digits.image_shape[:2] == (IMAGE_SIZES["digits"],) * 2
    assert digits.train.images.dtype == np.uint8
    assert (digits.train.images.min(), digits.train.images.max()) == (0, 255)
    assert load_dataset("digits").digest == digits.digest


def test_digits_need_no_data_dir(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_dataset("digits", tmp_path)
    assert f"data_dir={tmp_path} is not needed: the digits come with scikit-learn" in capsys.readouterr().err


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_says_whether_it_is_here(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    found = find_dataset(name)
    assert found is None or found.name == name
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(KeyError, match="fashion_mnist, cifar100, digits"):
        load_dataset("mnist")
    assert DATASETS == ("fashion_mnist", "cifar100", "digits")


@pytest.mark.parametrize("part", ["pixel", "label", "test pixel"])
def test_the_digest_covers_every_pixel_and_label(part: str) -> None:
    train, test = make_split(), make_split(40)
    before = Dataset("x", train, test, tuple("abcd"), "here").digest
    if part == "label":
        train.labels[-1] = 0
    else:
        split = train if part == "pixel" else test
        split.images[-1, -1, -1, -1] += 1
    assert Dataset("x", train, test, tuple("abcd"), "here").digest != before


def test_a_data_set_checks_its_shapes_and_labels() -> None:
    good = make_split()
    with pytest.raises(DataError, match="float32"):
        Dataset("x", Split(good.images.astype(np.float32), good.labels), good, tuple("abcd"), "here")
    with pytest.raises(DataError, match=r"within 0\.\.2"):
        Dataset("x", good, good, tuple("abc"), "here")
    with pytest.raises(DataError, match="test images"):
        Dataset("x", good, Split(good.images[:5], good.labels), tuple("abcd"), "here")


@pytest.mark.parametrize(
    ("name", "shape", "train", "test"),
    [("fashion_mnist", (28, 28, 1), 60_000, 10_000), ("cifar100", (32, 32, 3), 50_000, 10_000)],
)
def test_real_data(name: str, shape: tuple[int, ...], train: int, test: int) -> None:
    dataset = real_data(name)
    assert (dataset.image_shape, len(dataset.train), len(dataset.test)) == (shape, train, test)
    assert dataset.num_classes == num_classes_of(name)
    assert shape[:2] == (IMAGE_SIZES[name],) * 2
    for split in (dataset.train, dataset.test):
        assert set(np.bincount(split.labels)) == {len(split) // dataset.num_classes}


def test_real_cifar100_has_its_names_and_superclasses() -> None:
    cifar = real_data("cifar100")
    assert (cifar.num_classes, len(cifar.superclass_names)) == (100, 20)
    assert np.bincount(cifar.superclasses).tolist() == [5] * 20
    trees = cifar.superclass_names.index("trees")
    members = [name for name, group in zip(cifar.class_names, cifar.superclasses, strict=True) if group == trees]
    assert members == ["maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"]
