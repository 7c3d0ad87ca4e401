"""A store made by earlier code, in which runs have no `role`, no `settings` tag and no `split.json`, is gone on with.

old_store.zip holds (all of basic_ann on digits, unless said): two finished runs with the seeds 3 and 5, which also
fixed their split; a study of three trials with its refit, whose model is champion of digits-basic_ann; an interrupted
run after two of five epochs; an interrupted study of basic_cnn. Artifacts for looking at were left out.
"""

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from imagelab.tracking.resume import why_not_resumed
from tests.conftest import ROOT, Project, finish, move_artifacts

SEED_3, REFIT, INTERRUPTED = (
    "55686581eb8b4cb29d079d8bde918c48",
    "55338a1423944506ab1055064b011586",
    "45df48f792db4fa1ac7173dd2c806cfb",
)
STUDY, TRIAL = "a6b67c6edaeb460bb7f27c5f327cbef7", "290d795b01c846da87a13439bada7c4f"  # both interrupted
PROMOTION = "32027c058217447eae4af4b84e9a5352"
NAME = "digits-basic_ann"


@pytest.fixture
def old(project: Project) -> Iterator[Project]:
    """A project folder with the old store in it."""
    with zipfile.ZipFile(ROOT / "tests" / "old_store.zip") as store:
        store.extractall(project.folder)
    move_artifacts(project.folder, Path("/old_store"))
    yield project


def type_command(project: Project, name: str, *settings: str) -> tuple[int, str, str]:
    flags = [f"--{setting}" for setting in ("dataset=digits", "model=basic_ann", *settings)]
    return finish(project.start(sys.executable, "-m", f"entrypoints.{name}", *flags))


def alias(project: Project, name: str) -> str:
    return str(project.client.get_model_version_by_alias(NAME, name).version)


def comparison_of(project: Project) -> dict[str, Any]:
    """What the newest promotion has written down."""
    query = "tags.phase = 'promotion'"
    run = project.client.search_runs(["0"], query, order_by=["attributes.start_time DESC"])[0]
    path = project.client.download_artifacts(run.info.run_id, "comparison.json")
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


def test_the_best_run_is_the_refit(old: Project) -> None:
    code, said, errors = type_command(old, "promote")
    assert code == 0, errors
    assert f"run {REFIT}) is the champion already" in said


def test_two_old_runs_are_compared_on_images_that_neither_has_learned_from(old: Project) -> None:
    """The champion's split is that of seed 0, the challenger's that of seed 3."""
    from imagelab.data import load_dataset
    from imagelab.data.split import SplitSpec

    code, said, errors = type_command(old, "promote", f"run_id={SEED_3}", "min_improvement=-1", "significance=0")
    assert code == 0, errors
    labels = load_dataset("digits").train.labels
    common = set(SplitSpec(0, 0.1).indices(labels)[1]) & set(SplitSpec(3, 0.1).indices(labels)[1])
    assert comparison_of(old)["compared_on"].startswith(f"{len(common)} validation images")
    assert (alias(old, "champion"), alias(old, "previous")) == ("2", "1")
    code, said, errors = type_command(old, "rollback")
    assert code == 0, errors
    assert (alias(old, "champion"), alias(old, "previous")) == ("1", "2")


def test_an_old_champion_meets_a_new_run_and_predicts(old: Project, tmp_path: Path) -> None:
    process = old.train("epochs=8", "seed=9", "mixed_precision=float32")
    code, _, errors = finish(process)
    assert code == 0, errors
    code, said, errors = type_command(old, "promote", "min_improvement=-1", "significance=0")
    assert code == 0, errors
    assert comparison_of(old)["compared_on"].startswith("144 validation images")  # both have the split of seed 0
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("L", (8, 8), 200).save(tmp_path / "images" / "grey.png")
    images, output = f"images={tmp_path / 'images'}", f"output={tmp_path / 'old.parquet'}"
    code, said, errors = type_command(old, "predict", "version=1", images, output)
    assert code == 0, errors
    assert (tmp_path / "old.parquet").exists()


def test_an_interrupted_old_run_is_resumed(old: Project) -> None:
    code, _, errors = finish(old.train(f"resume={INTERRUPTED}"))
    assert code == 0, errors
    assert old.client.get_run(INTERRUPTED).info.status == "FINISHED"
    assert [step for step, _ in old.history(INTERRUPTED, "loss")] == [1, 2, 3, 4, 5]
    split = json.loads(Path(old.client.download_artifacts(INTERRUPTED, "split.json")).read_text())
    assert split["split_seed"] == 7  # what its `seed` was


def test_an_old_run_that_is_no_training_is_not_resumed(old: Project) -> None:
    code, output, errors = finish(old.train(f"resume={TRIAL}"))
    assert (code, output) == (2, "")
    assert errors.strip().endswith(
        f"resume={TRIAL}: that run is a trial of a study; type the study's tune again, which goes on with it"
    )
    for run_id, said in (
        (STUDY, "that run is the parent of other runs; type its command again, which goes on with it"),
        (PROMOTION, "that run is no training, but of the role promotion; type its command again"),
    ):
        assert said == f"that run is {why_not_resumed(old.client.get_run(run_id))}"


def test_an_old_study_goes_on(old: Project) -> None:
    code, said, errors = finish(old.tune("n_trials=4", "mixed_precision=float32"))
    assert code == 0, errors
    assert "4 trials" in said
    assert len(old.study(NAME).trials) == 4


def test_old_runs_are_compared(old: Project) -> None:
    """Those with the seeds 3 and 5 are no replicates of one configuration, since their seed fixed the split, too."""
    command = (sys.executable, "-m", "entrypoints.compare", "--all=true", f"--output={old.folder / 'compared'}")
    code, said, errors = finish(old.start(*command))
    assert code == 0, errors
    table = pd.read_csv(old.folder / "compared" / "performance_comparison.csv")
    assert sorted(table["split_seed"]) == [0, 3, 5]
    assert "no tag settings" not in errors
