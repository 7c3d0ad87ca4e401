"""`-e explain`: a gallery of a small network's right and wrong answers, in a run; what is wrong."""

import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from imagelab.errors import SettingsError
from imagelab.inspection.explain import explain_model
from imagelab.settings import ExplainSettings, parse
from tests.accessibility import VIEWS, emulate, serious_problems
from tests.conftest import Project, finish
from tests.prediction.prepared_models import NAME


@pytest.fixture(autouse=True)
def in_the_project(registered: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered.uri)
    monkeypatch.chdir(registered.folder)


def explained(*settings: str) -> str:
    return explain_model(parse(ExplainSettings, "explain", [f"--{setting}" for setting in settings]))


def newest(project: Project) -> Any:
    found = project.client.search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)[0]
    return project.client.get_run(found.info.run_id)


def file_of(run: Any, name: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/{name}"))


def test_right_and_wrong_answers_are_shown_in_a_run_of_its_own(registered: Project) -> None:
    said = explained(f"model_uri=models:/{NAME}@champion", "classes=8,1", "images_per_class=2")
    run = newest(registered)
    assert (run.info.status, run.data.tags["role"]) == ("FINISHED", "explanation")
    assert run.info.run_id in said and "gradient times input" in said and "classes 8, 1" in said
    table = pd.read_csv(file_of(run, "explained_images.csv"))
    assert set(table["class"]) == {1, 8}
    assert table.groupby("class").size().max() <= 4
    assert_same_as_evaluated(table, registered)
    assert set(table["class"] == table["predicted_class"]) == {True, False}
    page = file_of(run, "explanation.html").read_text()
    assert page.count("<img ") == page.count('alt="') >= 2 * len(table)
    assert 'src="http' not in page and '<h2 id="class-8">8</h2>' in page
    assert file_of(run, "figures/explanations.png").stat().st_size > 5_000
    (model,) = registered.client.search_logged_models(["0"])
    assert [each.model_id for each in run.inputs.model_inputs] == [model.model_id]
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == run.data.tags["dataset_digest"][:36]


def assert_same_as_evaluated(table: pd.DataFrame, project: Project) -> None:
    """Its images have the classes and probabilities that the training's own evaluation has found."""
    evaluated = pd.read_parquet(predictions_of(project)).set_index("index").loc[table["index"]]
    for column in ("class", "predicted_class"):
        assert table[column].astype(str).tolist() == evaluated[column].astype(str).tolist()
    for column in ("probability", "probability_of_truth"):
        np.testing.assert_allclose(table[column], evaluated[column], atol=1e-4)


def predictions_of(project: Project) -> Path:
    """The file of the training's evaluation itself, no copy."""
    run = project.client.get_run(newest_training(project))
    return Path(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/evaluation/predictions.parquet"))


def test_answers_that_cannot_be_read_are_computed_anew(registered: Project) -> None:
    path = predictions_of(registered)
    assert path.is_relative_to(registered.folder)
    content = path.read_bytes()
    path.write_bytes(content[:100])
    try:
        explained(f"run_id={newest_training(registered)}", "classes=8,1", "images_per_class=2")
    finally:
        path.write_bytes(content)
    run = newest(registered)
    assert run.info.status == "FINISHED"
    assert_same_as_evaluated(pd.read_csv(file_of(run, "explained_images.csv")), registered)


def test_the_page_is_accessible(registered: Project, browser: Any) -> None:
    explained(f"model_uri=models:/{NAME}@champion", "classes=8,1", "images_per_class=2")
    page = file_of(newest(registered), "explanation.html")
    for width, scheme in VIEWS:
        emulate(browser, width, scheme)
        browser.get(page.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert serious_problems(browser) == [], (width, scheme)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [...document.images].every(i => i.alt && i.naturalWidth > 0)")


def test_without_names_a_few_classes_of_the_validation_split_are_shown(registered: Project) -> None:
    trained = newest_training(registered)
    explained(f"run_id={trained}", "split=validation", "images_per_class=1")
    run = newest(registered)
    assert run.data.tags["explained_run"] == trained
    assert len(pd.read_csv(file_of(run, "explained_images.csv"))["class"].unique()) == 4


def newest_training(project: Project) -> str:
    return next(str(run.info.run_id) for run in project.runs() if run.data.tags.get("role") == "final")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], "run_id, model_uri: neither is given"),
        (["run_id=RUN", "classes=ten"], "classes=ten: there is no such class; there are: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (["run_id=RUN", "classes=1,,2"], "must be names of classes joined by commas"),
        (["run_id=RUN", "images_per_class=0"], "images_per_class=0"),
        ([f"model_uri=models:/{NAME}@best"], f"{NAME} has no such alias"),
    ],
)
def test_what_is_wrong_is_one_line_and_no_run(registered: Project, settings: list[str], said: str) -> None:
    settings = [setting.replace("=RUN", f"={newest_training(registered)}") for setting in settings]
    before = len(registered.runs())
    with pytest.raises(SettingsError, match=said) as error:
        explained(*settings)
    assert "\n" not in str(error.value)
    assert len(registered.runs()) == before


def test_the_door_says_so_with_exit_code_2(registered: Project) -> None:
    command = (sys.executable, "-m", "entrypoints.explain", f"--model_uri=models:/{NAME}@best")
    code, output, errors = finish(registered.start(*command))
    assert (code, output) == (2, "")
    assert errors.startswith(f"explain: model_uri=models:/{NAME}@best: ")
