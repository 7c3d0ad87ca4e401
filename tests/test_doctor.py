from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagelab import doctor
from imagelab.data.dataset import Dataset
from imagelab.doctor import Finding
from imagelab.registry.overview import TrainedModel
from imagelab.tracking import REPEAT, runs_folder
from imagelab.tracking.presentation import PARENT
from tests.conftest import real_data


def test_it_finds_data_wherever_the_loaders_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In Keras's older folder: the loader has always looked there."""
    source = Path(real_data("cifar100").source)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "cifar-100-python").symlink_to(source)
    found = {finding.what: finding.found for finding in doctor.data()}
    assert found["data: cifar100"] == f"complete in {tmp_path / 'datasets' / 'cifar-100-python'}"
    assert found["data: digits"] == "complete in scikit-learn's load_digits"


def test_it_tells_of_every_data_set_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    here: Dataset = real_data("digits")
    monkeypatch.setattr(doctor, "DATASETS", ("new", "other"))
    monkeypatch.setattr(doctor, "find_dataset", lambda name: here if name == "new" else None)
    assert list(doctor.data()) == [
        Finding("data: new", "complete in scikit-learn's load_digits"),
        Finding("data: other", "not here; fetched when first used"),
    ]


def test_a_check_that_fails_stops_no_other_and_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def weights() -> Iterator[Finding]:
        raise OSError("no such disk")

    def champions() -> Iterator[Finding]:
        yield Finding("digits-basic_ann", "champion 1", "serve it")

    monkeypatch.setattr(doctor, "CHECKS", (weights, champions))
    *found, (_, advice, _) = doctor.examine()
    assert found == [Finding("weights", "PROBLEM: OSError: no such disk"), *champions()]
    assert advice.startswith("mend what is said of the weights")


def test_what_calls_for_something_is_what_to_type_next() -> None:
    found = [Finding("memory", "plenty"), Finding("interrupted run", "...", "resume it"), Finding("a", "b", "serve it")]
    assert doctor.next_command(found) == "resume it"
    assert doctor.next_command(found[:1]) == "mlflow run . -e train --env-manager local"


def test_of_an_interrupted_run_below_another_the_command_of_both_is_to_be_repeated(client: Any) -> None:
    alone, parent = (client.create_run("0").info.run_id for _ in range(2))
    child = client.create_run("0", tags={PARENT: parent}).info.run_id
    for run_id in (alone, child):
        (runs_folder() / run_id).mkdir(parents=True)
        (runs_folder() / run_id / "settings.json").write_text("{}")
    found = {finding.found.split(" (or delete")[0]: finding.command for finding in doctor.interrupted_runs()}
    resume = f"mlflow run . -e train --env-manager local -P resume={alone}"
    assert found == {resume: resume, f"{child}: {REPEAT}": ""}


@pytest.mark.parametrize(
    ("are_fast", "given", "words"),
    [(True, "1", "on"), (False, "0", "without it"), (False, "1", "has none"), (None, "1", "unknown")],
)
def test_it_says_whether_the_fast_kernels_are_on(are_fast: bool | None, given: str, words: str) -> None:
    assert words in doctor.kernels_text(are_fast, given)


def test_a_model_of_all_images_is_to_be_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [TrainedModel("digits", "basic_ann", 0.9, "a", limit=100), TrainedModel("digits", "basic_cnn", 0.95, "b")]
    monkeypatch.setattr(doctor, "use_tracking_store", lambda: None)
    monkeypatch.setattr(doctor, "trained_models", lambda client: rows)
    limited, whole = doctor.trained()
    assert (limited.found, limited.command) == (
        "basic_ann on digits, validation accuracy 90.00%, of 100 images only",
        "",
    )
    assert whole.command == "mlflow run . -e promote --env-manager local -P dataset=digits -P model=basic_cnn"
