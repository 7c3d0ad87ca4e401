import numpy as np
import pytest

from imagelab.data.dataset import Split
from imagelab.data.split import SplitSpec
from imagelab.errors import SettingsError


def make_split(count: int = 100) -> Split:
    """Images that differ in their pixels, of ten classes in turn."""
    images = np.arange(count, dtype=np.uint32).view(np.uint8).reshape(count, 2, 2, 1)
    return Split(images, np.arange(count) % 10)


def pixels_of(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images}


def test_the_split_is_stratified_disjoint_and_fixed_by_its_seed() -> None:
    images = make_split(1000)
    train_split, val_split = SplitSpec(3, 0.1).split(images)
    assert np.bincount(val_split.labels).tolist() == [100 // 10] * 10
    assert len(pixels_of(train_split) | pixels_of(val_split)) == len(train_split) + len(val_split) == 1000
    assert pixels_of(SplitSpec(3, 0.1).split(images)[1]) == pixels_of(val_split)
    assert pixels_of(SplitSpec(4, 0.1).split(images)[1]) != pixels_of(val_split)


def test_limit_keeps_the_first_images() -> None:
    train, val = SplitSpec(0, 0.2, limit=50).indices(make_split(200).labels)
    assert sorted([*train, *val]) == list(range(50))
    assert len(val) == 10


def test_too_few_images_to_keep_shares_are_split_at_random() -> None:
    train, val = SplitSpec(0, 0.1).indices(np.arange(100))
    assert (len(train), len(val)) == (90, 10)


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"validation_fraction=0.001 of 100 images leaves 0"):
        SplitSpec(0, 0.001).indices(make_split().labels)


def test_each_image_to_learn_from_is_in_one_fold_and_the_validation_images_are_in_none() -> None:
    labels = make_split(500).labels
    train, val = SplitSpec(1, 0.1).indices(labels)
    specs = [SplitSpec(1, 0.1, fold=fold, folds=5) for fold in range(5)]
    assert sorted(np.concatenate([spec.fold_indices(labels) for spec in specs])) == list(train)
    for spec in specs:
        learn, choose = spec.indices(labels)
        fold = spec.fold_indices(labels)
        assert list(choose) == list(val)
        assert not set(fold) & {*learn, *choose}
        assert sorted([*learn, *fold]) == list(train)
        assert np.bincount(labels[fold]).tolist() == [9] * 10
    assert len(SplitSpec(1, 0.1).fold_indices(labels)) == 0


def test_folds_of_classes_with_few_images_are_random_and_as_large() -> None:
    labels = make_split(50).labels
    folds = [SplitSpec(0, 0.1, fold=fold, folds=9).fold_indices(labels) for fold in range(9)]
    assert [len(fold) for fold in folds] == [5] * 9
    assert len(set(np.concatenate(folds))) == 45


def test_more_folds_than_images_are_refused() -> None:
    with pytest.raises(SettingsError, match="folds=500: must be at most 90"):
        SplitSpec(0, 0.1, fold=0, folds=500).indices(make_split().labels)


def test_what_is_written_is_read_again() -> None:
    spec = SplitSpec(split_seed=7, validation_fraction=0.25, limit=40, fold=2, folds=5)
    assert SplitSpec.from_json(spec.to_json()) == spec
    for damaged in ("{", "[]", '{"seed": 3}'):
        with pytest.raises((ValueError, TypeError)):
            SplitSpec.from_json(damaged)
