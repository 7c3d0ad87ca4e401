"""The finished run in the MLflow UI, in headless Chromium as a person would open it."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LONGEST, Project, answers, finish, free_port, wait_until


@pytest.fixture
def ui(project: Project) -> Iterator[str]:
    """The address of the finished run of a small training, served by `mlflow ui` as `make ui` starts it."""
    code, _, errors = finish(project.train("epochs=3"))
    assert code == 0, errors
    port = free_port()
    process = project.start(str(Path(sys.executable).with_name("mlflow")), "ui", "--port", str(port), "--workers", "1")
    address = f"http://127.0.0.1:{port}"
    wait_until(lambda: answers(address))
    yield f"{address}/#/experiments/0/runs/{project.runs()[0].info.run_id}"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=LONGEST)


def read(browser: Any, page: str, *words: str) -> None:
    """Open a page and wait until it shows all the words."""
    visit(browser, page)

    def text() -> str:
        return str(browser.execute_script("return document.body.innerText"))

    try:
        wait_until(lambda: all(word in text() for word in words))
    except AssertionError:
        missing = [word for word in words if word not in text()]
        raise AssertionError(f"{page} does not show {missing}, but:\n{text()[:3000]}") from None


def test_the_run_in_the_ui(ui: str, browser: Any) -> None:
    read(browser, ui, "Finished", "val_accuracy", "test_accuracy", "basic_ann", "digits-training", "learning_rate")
    read(browser, f"{ui}/model-metrics", "loss", "val_loss", "accuracy", "learning_rate", "images_per_second")
    wait_until(lambda: browser.find_elements("css selector", ".js-plotly-plot, .plotly"))
    read(browser, f"{ui}/system-metrics", "cpu_utilization_percentage")
    read(browser, f"{ui}/artifacts", "checkpoints", "evaluation", "figures", "model_summary.txt")
    picture = f"{ui}/artifacts/figures/confusion_matrix.png"
    visit(browser, picture)
    loaded = "return [...document.images].some(i => i.complete && i.naturalWidth > 500)"
    wait_until(lambda: browser.execute_script(loaded))
    visit(browser, f"{ui}/artifacts/figures/curves.html")
    wait_until(lambda: drawn_in_a_frame(browser))


def visit(browser: Any, page: str) -> None:
    """Open a page anew: a change behind the # alone would not load it."""
    browser.get("about:blank")
    browser.get(page)


def drawn_in_a_frame(browser: Any) -> bool:
    """Whether the interactive curves have drawn themselves inside the frame that the UI shows pages in."""
    for frame in browser.find_elements("css selector", "iframe"):
        browser.switch_to.frame(frame)
        drawn = bool(browser.find_elements("css selector", ".plotly .scatterlayer .trace"))
        browser.switch_to.default_content()
        if drawn:
            return True
    return False
