"""`-e compare` as it is typed, with a tracking server, and its page in headless Chromium."""

import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.accessibility import VIEWS, emulate, serious_problems
from tests.comparison.made_runs import make_run
from tests.conftest import Project, Server, finish, wait_until


@pytest.fixture
def compared(project: Project, server: Server, tmp_path: Path) -> Path:
    """The folder with the comparison of an ANN and a CNN with two seeds each, and of what was left out."""
    import mlflow

    client = mlflow.MlflowClient(server.uri)
    mlflow.set_tracking_uri(server.uri)
    for seed in (0, 1):
        wide = {"test_top_5_accuracy": 0.9 + seed / 10, "training_processor_seconds": 1e4 + 9e3 * seed}
        make_run(client, tmp_path, 0.7, {"seed": seed}, metrics=wide)
        make_run(client, tmp_path, 0.95, {"model": "basic_cnn", "seed": seed}, metrics=wide)
    killed = make_run(client, tmp_path, 0.95, {"seed": 2}, status="KILLED", answers=False)
    command = [sys.executable, "-m", "entrypoints.compare"]
    code, output, errors = finish(project.start(*command, MLFLOW_TRACKING_URI=server.uri))
    assert code == 0, errors
    assert f"left out: run {killed}" in errors
    assert "CNN against ANN: basic_cnn is " in output
    assert "compared 2 configurations (4 runs)" in output
    [run] = client.search_runs(["0"], "tags.role = 'comparison'")
    assert (run.info.status, run.data.metrics["left_out"]) == ("FINISHED", 1)
    assert "CNN against ANN: basic_cnn is " in run.data.tags["mlflow.note.content"]
    files = {path.name for path in (project.folder / "comparison").iterdir()}
    assert files | {"findings.md"} == {file.path for file in client.list_artifacts(run.info.run_id)}
    code, _, errors = finish(project.start(*command, "--model=vgg16", MLFLOW_TRACKING_URI=server.uri))
    assert (code, errors.count("\n")) == (2, 1)
    assert "nothing to compare" in errors
    code, _, errors = finish(project.start(*command, "--output=/proc/none", MLFLOW_TRACKING_URI=server.uri))
    assert (code, "compare: output=/proc/none: cannot be made (" in errors) == (2, True)
    assert len(client.search_runs(["0"], "tags.role = 'comparison'")) == 1
    return project.folder / "comparison"


def test_the_comparison_and_its_page(compared: Path, browser: Any) -> None:
    table = pd.read_csv(compared / "performance_comparison.csv")
    assert list(table["model"]) == ["basic_cnn", "basic_ann"]
    assert list(table["seeds"]) == [2, 2]
    assert table["test_accuracy_std"].notna().all()
    [pair] = pd.read_csv(compared / "pairs.csv").to_dict("records")
    assert (pair["images"], pair["seeds"]) == (360, 2)
    assert pair["mcnemar_p_holm"] < 0.05
    assert (compared / "report.html").stat().st_size < 2_500_000

    for width, scheme in VIEWS:
        emulate(browser, width, scheme)
        browser.get((compared / "report.html").as_uri())
        wait_until(lambda: browser.execute_script("return document.body.dataset.drawn"))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        cut = browser.execute_script(
            "const t = document.querySelector('.scroll'); return t.scrollWidth - t.clientWidth"
        )
        assert width < 1300 or cut == 0  # the main table's last column can be seen
        background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 26)"}[scheme]
        open_all = "document.querySelectorAll('details').forEach(each => each.open = true)"
        browser.execute_script(open_all)
        assert serious_problems(browser, ".js-plotly-plot") == [], (width, scheme)
        if folder := os.environ.get("IMAGELAB_SCREENSHOTS"):
            browser.save_screenshot(f"{folder}/comparison-{width}-{scheme}.png")
    assert browser.get_log("browser") == []
    links = browser.execute_script("return [...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash.slice(1))")
    missing = "return arguments[0].filter(id => !document.getElementById(id))"
    assert len(links) > 8
    assert browser.execute_script(missing, links) == []
    assert browser.execute_script("return [...document.images].every(i => i.alt && i.naturalWidth == 64)")
    assert browser.execute_script("return document.images.length") > 4
    assert not browser.find_elements("css selector", "[src^='http'], link[href^='http']")
