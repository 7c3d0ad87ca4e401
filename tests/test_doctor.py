from pathlib import Path

import pytest

from imagelab import data, doctor
from imagelab.data.dataset import Dataset
from tests.conftest import real_data


def test_it_finds_data_wherever_the_loaders_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In Keras's older folder: the loader has always looked there."""
    source = Path(real_data("cifar100").source)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "cifar-100-python").symlink_to(source)
    found = dict(doctor.data())
    assert found["data: cifar100"] == f"complete in {tmp_path / 'datasets' / 'cifar-100-python'}"
    assert found["data: digits"] == "complete in scikit-learn's load_digits"


def test_it_tells_of_every_data_set_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    here: Dataset = real_data("digits")
    monkeypatch.setattr(data, "DATASETS", ("new", "other"))
    monkeypatch.setattr(data, "find_dataset", lambda name: here if name == "new" else None)
    assert list(doctor.data()) == [
        ("data: new", "complete in scikit-learn's load_digits"),
        ("data: other", "not here; fetched when first used"),
    ]
