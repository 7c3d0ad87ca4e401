"""`-e evaluate`: a small network on its own splits and on pictures, calibrated, over several views; what is wrong."""

import sys
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss

from imagelab.data import load_dataset
from imagelab.data.split import SplitSpec
from imagelab.errors import RegistryError, SettingsError
from imagelab.inspection.evaluate import evaluate
from imagelab.registry.promotion import promote
from imagelab.settings import EvaluateSettings, PromoteSettings, parse
from tests.conftest import Project, finish
from tests.prediction.prepared_models import NAME, digits, png, write_parquet


@pytest.fixture(autouse=True)
def in_the_project(registered: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered.uri)
    monkeypatch.chdir(registered.folder)


@pytest.fixture(scope="module")
def trained(registered: Project) -> Any:
    (run,) = (run for run in registered.runs() if run.data.tags.get("role") == "final")
    return run


def evaluated(project: Project, *settings: str) -> tuple[str, Any]:
    """What the command says, and its run."""
    said = evaluate(parse(EvaluateSettings, "evaluate", [f"--{setting}" for setting in settings]))
    newest = project.client.search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)[0]
    newest = project.client.get_run(newest.info.run_id)  # a search leaves the models out
    assert newest.info.run_id in said
    assert (newest.info.status, newest.data.tags["role"]) == ("FINISHED", "evaluation")
    return said, newest


def table(run: Any, name: str) -> pd.DataFrame:
    return pd.read_csv(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/{name}"))


def answers_of(model_uri: str, images: np.ndarray) -> np.ndarray:
    """Probabilities by Keras itself."""
    network = mlflow.pyfunc.load_model(model_uri).unwrap_python_model().network
    return np.asarray(network(images.astype(np.float32), training=False))


def test_the_test_split_gives_the_figures_tables_and_pictures_of_the_training(
    registered: Project, trained: Any
) -> None:
    said, run = evaluated(registered, f"run_id={trained.info.run_id}")
    theirs = {name: value for name, value in trained.data.metrics.items() if name.startswith("test_")}
    assert {name: run.data.metrics[name] for name in theirs} == pytest.approx(theirs, abs=1e-6)
    kept = registered.artifacts(run.info.run_id) - {"evaluation/comparison_with_training.csv"}
    made = registered.artifacts(trained.info.run_id)
    assert kept - {"split.json"} == {name for name in made if name.startswith("evaluation/")} | {
        f"figures/{name}" for name in ("confusion_matrix.png", "confusion_matrix.html", "calibration.png")
    } | {"figures/correct.png", "figures/incorrect.png"}
    assert table(run, "evaluation/comparison_with_training.csv")["difference"].abs().max() < 1e-6
    assert "accuracy the same" in said

    (model,) = (
        each for each in registered.client.search_logged_models(["0"]) if each.source_run_id == trained.info.run_id
    )
    assert [each.model_id for each in run.inputs.model_inputs] == [model.model_id]
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == trained.data.tags["dataset_digest"][:36]
    linked = [
        each for each in registered.client.get_logged_model(model.model_id).metrics if each.run_id == run.info.run_id
    ]
    assert {each.key for each in linked} == set(theirs)
    assert {each.dataset_name for each in linked} == {"digits-test"}


def test_the_validation_split_is_the_one_that_the_run_has_stored(registered: Project, trained: Any) -> None:
    _, run = evaluated(registered, f"model_uri=models:/{NAME}/2", "split=validation")
    split = load_dataset("digits").train.take(SplitSpec(0, 0.1).indices(load_dataset("digits").train.labels)[1])
    said = answers_of(f"models:/{NAME}/2", split.images).argmax(axis=1)
    assert run.data.metrics["val_accuracy"] == pytest.approx(accuracy_score(split.labels, said))
    assert run.data.tags["evaluated_run"] == trained.info.run_id


def test_a_calibrated_network_is_better_on_validation_is_logged_so_and_can_be_promoted(
    registered: Project, trained: Any
) -> None:
    said, run = evaluated(registered, f"run_id={trained.info.run_id}", "calibrate=true")
    (model,) = (each for each in registered.client.search_logged_models(["0"]) if each.source_run_id == run.info.run_id)
    data = load_dataset("digits")
    probabilities = answers_of(f"models:/{model.model_id}", data.test.images)
    assert run.data.metrics["test_loss"] == pytest.approx(log_loss(data.test.labels, probabilities), abs=1e-5)
    before = answers_of(f"models:/{NAME}/2", data.test.images)
    assert run.data.metrics["test_loss_before"] == pytest.approx(log_loss(data.test.labels, before), abs=1e-5)
    assert (before.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    effect = table(run, "evaluation/temperature.csv").set_index("images_of")
    assert effect.loc["val", "loss_after"] <= effect.loc["val", "loss_before"]
    assert f"temperature {run.data.metrics['temperature']:.3f}" in said and f"run_id={run.info.run_id}" in said

    promoted = promote(PromoteSettings(dataset="digits", model="basic_ann", run_id=run.info.run_id))
    assert "is champion" in promoted
    keras.backend.clear_session()  # as in another process: new layers may get names that the loaded ones have
    _, again = evaluated(registered, f"model_uri=models:/{NAME}@champion", "calibrate=true")
    assert again.data.metrics["temperature"] == pytest.approx(1, abs=0.001)


def test_the_gain_and_the_cost_of_views_are_said_and_validation_advises(registered: Project, trained: Any) -> None:
    said, run = evaluated(registered, f"model_uri=runs:/{trained.info.run_id}/model", "tta=flip")
    images, labels = load_dataset("digits").test.images, load_dataset("digits").test.labels
    both = (answers_of(f"models:/{NAME}/2", images) + answers_of(f"models:/{NAME}/2", images[:, :, ::-1])) / 2
    assert run.data.metrics["test_tta_accuracy"] == pytest.approx(accuracy_score(labels, both.argmax(axis=1)))
    assert run.data.metrics["test_accuracy"] == pytest.approx(trained.data.metrics["test_accuracy"])  # is the network's
    assert set(table(run, "evaluation/tta.csv")["images_of"]) == {"test", "val"}
    assert "ms an image" in said and "leave tta=flip out" in said  # mirrored digits are no digits


def folder_of(path: Path) -> Path:
    """Digits in folders named like them, and what cannot be used."""
    labels = load_dataset("digits").train.labels
    for number, content in enumerate(digits(200)):
        (path / str(labels[number])).mkdir(parents=True, exist_ok=True)
        (path / str(labels[number]) / f"{number}.png").write_bytes(content)
    (path / "ten").mkdir()
    (path / "ten" / "1.png").write_bytes(digits(1)[0])
    (path / "loose.png").write_bytes(digits(1)[0])
    (path / "3" / "bad.png").write_bytes(b"no image")
    (path / "3" / "photo.tif").write_bytes(b"not looked into")
    (path / "-1").mkdir()
    (path / "-1" / "1.png").write_bytes(digits(1)[0])
    return path


def test_a_folder_of_classes_is_scored_and_what_cannot_be_used_is_named(
    registered: Project, trained: Any, tmp_path: Path
) -> None:
    said, run = evaluated(registered, f"run_id={trained.info.run_id}", f"images={folder_of(tmp_path / 'own')}")
    known = load_dataset("digits").train.take(slice(200))
    guessed = answers_of(f"models:/{NAME}/2", known.images).argmax(axis=1)
    assert run.data.metrics["images_accuracy"] == pytest.approx(accuracy_score(known.labels, guessed))
    left_out = table(run, "data/left_out.csv").set_index("image")["problem"].to_dict()
    unknown = dict.fromkeys(["ten/1.png", "-1/1.png"], "of an unknown class")
    others = {"loose.png": "without a class", "3/photo.tif": "with names of no images"}
    assert left_out == {"3/bad.png": "unreadable"} | unknown | others
    assert "1 unreadable" in said and "1 with names of no images" in said
    assert "(no classes of the network: -1, ten)" in said
    assert "shows a difference from the training images" in said  # some of them are training images
    assert run.data.metrics["drifted_figures"] == 0


def test_a_table_of_other_pictures_is_scored_and_called_unlike_the_training_images(
    registered: Project, trained: Any, tmp_path: Path
) -> None:
    bright = [png(200 + image // 5) for image in load_dataset("digits").test.images[:60, :, :, 0]]
    labels = [str(label) for label in load_dataset("digits").test.labels[:59]]
    path = write_parquet(tmp_path / "bright.parquet", bright, digit=[*labels, None])
    said, run = evaluated(registered, f"run_id={trained.info.run_id}", f"images={path}", "label_column=digit")
    assert "1 without a class" in said and "WARNING" in said and "pixel mean: " in said
    drift = table(run, "evaluation/drift.csv").set_index("figure")
    assert drift.loc["pixel mean", "off"] and not drift.loc["another size than 8 x 8 pixels", "off"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], "run_id, model_uri: neither is given"),
        (["model_uri=champion"], "must be models:/NAME@ALIAS, models:/NAME/VERSION"),
        (["model_uri=models:/none@champion"], "model_uri=models:/none@champion: .*no registered model none"),
        ([f"model_uri=models:/{NAME}@best"], f"{NAME} has no such alias; it has: "),
        ([f"model_uri=models:/{NAME}/77"], f"{NAME} has no such version"),
        (["model_uri=models:/m-0123"], "no such model"),
        ([f"run_id={'0' * 32}"], "no such run"),
        (["run_id=RUN", "images=nowhere"], "images=nowhere: there is no such file or folder"),
        (["run_id=RUN", "images=TEXT"], "images=.*: must be a folder of images, a Parquet file or a folder of them"),
        (["run_id=RUN", "images=JUNK"], "images=.*junk.parquet: cannot be read as Parquet"),
        (["run_id=RUN", "images=EMPTY"], "no images .* and no Parquet files"),
        (["run_id=RUN", "images=TABLE"], "label_column=label: .* has no such column; besides images it has: digit"),
        (["run_id=RUN", "images=TABLE", "label_column=digit"], "no image can be used .2 of an unknown"),
        (["run_id=RUN", "split=test", "images=TABLE"], "give one of them"),
        (["run_id=RUN", "images=PICTURES", "label_column=digit"], "label_column=digit: .* is a folder of images"),
        (["run_id=RUN", "label_column=x"], "has no effect without images"),
        (["run_id=RUN", "calibrate=true", "tta=flip"], "one after the other"),
    ],
)
def test_what_is_wrong_is_one_line_and_no_run(
    registered: Project, trained: Any, tmp_path: Path, settings: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    write_parquet(tmp_path / "table.parquet", digits(2), digit=["boot", "hat"])
    (tmp_path / "pictures" / "0").mkdir(parents=True)
    (tmp_path / "pictures" / "0" / "a.png").write_bytes(digits(1)[0])
    places = {"RUN": trained.info.run_id, "EMPTY": str(tmp_path / "empty"), "TABLE": str(tmp_path / "table.parquet")}
    (tmp_path / "notes.txt").write_text("no table")
    places["TEXT"] = str(tmp_path / "notes.txt")
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 and no more")
    places["JUNK"] = str(tmp_path / "junk.parquet")
    places["PICTURES"] = str(tmp_path / "pictures")
    for name, place in places.items():
        settings = [setting.replace(f"={name}", f"={place}") for setting in settings]
    before = len(registered.runs())
    with pytest.raises(SettingsError, match=said) as error:
        evaluate(parse(EvaluateSettings, "evaluate", [f"--{setting}" for setting in settings]))
    assert "\n" not in str(error.value)
    assert len(registered.runs()) == before


def test_another_data_set_of_the_same_name_is_refused(registered: Project, trained: Any) -> None:
    registered.client.set_tag(trained.info.run_id, "dataset_digest", "0" * 64)
    try:
        with pytest.raises(RegistryError, match="so scores would not be comparable"):
            evaluate(EvaluateSettings(run_id=trained.info.run_id))
    finally:
        registered.client.set_tag(trained.info.run_id, "dataset_digest", load_dataset("digits").digest)


def test_the_door_says_so_with_exit_code_2(registered: Project) -> None:
    command = (sys.executable, "-m", "entrypoints.evaluate", f"--model_uri=models:/{NAME}@best")
    code, output, errors = finish(registered.start(*command))
    assert (code, output) == (2, "")
    assert errors.startswith(f"evaluate: model_uri=models:/{NAME}@best: alias=best: ")
