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


def test_folds_share_the_train_split_and_keep_the_validation_images_out() -> None:
    labels = make_split(500).labels
    train, val = SplitSpec(1, 0.1).indices(labels)
    folds = [SplitSpec(1, 0.1, fold=fold, folds=5).indices(labels) for fold in range(5)]
    assert sorted(np.concatenate([val_part for _, val_part in folds])) == list(train)
    for train_part, val_part in folds:
        assert not set(val_part) & set(train_part)
        assert not set(val) & {*train_part, *val_part}
        assert sorted([*train_part, *val_part]) == list(train)
        assert np.bincount(labels[val_part]).tolist() == [9] * 10


def test_more_folds_than_images_are_refused() -> None:
    with pytest.raises(SettingsError, match="cannot be split in 500 folds"):
        SplitSpec(0, 0.1, fold=0, folds=500).indices(make_split().labels)


def test_what_is_written_is_read_again() -> None:
    spec = SplitSpec(split_seed=7, validation_fraction=0.25, limit=40, fold=2, folds=5)
    assert SplitSpec.from_json(spec.to_json()) == spec
    for damaged in ("{", "[]", '{"seed": 3}'):
        with pytest.raises((ValueError, TypeError)):
            SplitSpec.from_json(damaged)
