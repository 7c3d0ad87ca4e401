"""The pictures of MLflow's page that docs show, made in headless Chromium.

    python -m tests.screenshots [--store URI] [--run RUN_ID]

Without --store, two small networks are trained with two seeds each first, which takes a minute or two. With --run,
docs/run.png is made instead, of that run in the store.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from selenium.webdriver.common.keys import Keys

from tests.conftest import ROOT, answers, free_port, open_chromium, wait_until

SIZE = 1500, 1000  # pixels of the window
COLORS = 128  # of a picture's palette
CLICK = """
const found = [...document.querySelectorAll("button")].find(
    each => each.offsetParent && [each.innerText.trim(), each.getAttribute("aria-label")].includes(arguments[0]));
found?.click();
return Boolean(found);
"""
BUTTONS = """
let card = [...document.querySelectorAll("*")].find(
    each => !each.children.length && each.textContent.trim() === arguments[0]);
while (!card.querySelector("[data-testid='experiment-view-compare-runs-card-menu']")) card = card.parentElement;
return [...card.querySelectorAll("button")];
"""  # of the chart with this title: to enlarge it, and its menu
MENU_ITEM = "return [...document.querySelectorAll('[role=menuitem]')].find(each => each.innerText === arguments[0])"
FINAL, BEST = "tags.role = 'final' and tags.dataset = 'digits'", "metrics.`test_accuracy`"
SETTLED = 4.0  # seconds after which MLflow's page has drawn what it has loaded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="a tracking store, as sqlite:///mlflow.db")
    parser.add_argument("--run", help="a run in it, of which docs/run.png is made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or train(Path(folder))
        browser = open_chromium(Path(folder) / "chromium")
        try:
            browser.set_window_size(*SIZE)
            with mlflow_ui(store, Path(folder)) as address:
                page = Page(browser, address)
                page.open_run(given.run) if given.run else show_runs(page)
        finally:
            browser.quit()


def train(folder: Path) -> str:
    """The URI of a new store with two networks, two seeds each."""
    store = f"sqlite:///{folder / 'mlflow.db'}"
    path = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    for model in ("basic_ann", "basic_cnn"):
        settings = [f"--model={model}", "--dataset=digits", "--recipe=quick", "--seeds=2"]
        command = [sys.executable, "-m", "entrypoints.train", *settings]
        subprocess.run(
            command, cwd=folder, check=True, env={**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": path}
        )
    return store


@contextmanager
def mlflow_ui(store: str, folder: Path) -> Iterator[str]:
    """The address of the first experiment of a store."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "ui", f"--backend-store-uri={store}", f"--port={port}", "--workers=1"]
    with (folder / "ui.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}"), process=process)
        yield f"http://127.0.0.1:{port}/#/experiments/0/runs"
    finally:
        process.terminate()
        process.wait()


class Page:
    """MLflow's page of an experiment, and what one does there."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address = browser, address
        self.is_tidy = False

    def open(self, where: str, *words: str) -> None:
        """Open a page anew, wait until it shows all words, and close what MLflow says about its assistant."""
        self.browser.get("about:blank")
        self.browser.get(f"{self.address}{where}")
        self.wait_for(*words)
        if not self.is_tidy:
            time.sleep(SETTLED)
            self.click("Close guidance")
            self.click("Close")
            self.is_tidy = True
        time.sleep(SETTLED)

    def wait_for(self, *words: str) -> None:
        wait_until(lambda: all(word in self.text() for word in words))

    def open_run(self, run_id: str) -> None:
        self.open(f"/{run_id}/model-metrics", "val_accuracy")
        self.save("run")

    def text(self) -> str:
        return str(self.browser.execute_script("return document.body.innerText"))

    def click(self, name: str) -> bool:
        """Click the button of this name; whether there is one."""
        return bool(self.browser.execute_script(CLICK, name))

    def save(self, name: str) -> None:
        """Write docs/NAME.png, with a palette: a quarter of the size."""
        picture = Image.open(BytesIO(self.browser.get_screenshot_as_png())).convert("RGB")
        picture.quantize(COLORS, dither=Image.Dither.NONE).save(ROOT / "docs" / f"{name}.png", optimize=True)


def show_runs(page: Page) -> None:
    """The list of runs, and the curves and confusion matrices of several."""
    page.open("?viewStateShareKey=imagelab", "Expand rows", "test_accuracy")
    page.click("Hide banner")
    time.sleep(SETTLED)
    page.save("runs-list")
    page.open(CHARTS, "val_accuracy", "seed 0", "seed 1")
    search(page, "val_")
    page.save("runs-curves")
    page.open(CHARTS, "val_accuracy", "seed 0", "seed 1")
    compare_images(page, "confusion_matrix")
    page.save("runs-images")


# Ordered by a metric, replicates have rows of their own; otherwise they are hidden below their parents.
CHARTS = f"?searchFilter={quote(FINAL)}&orderByKey={quote(BEST)}&orderByAsc=false&compareRunsMode=CHART"


def compare_images(page: Page, name: str) -> None:
    """Switch the runs' parameters off in the chart of these images, then show it alone, large."""
    search(page, name)
    enlarge, menu, *_ = page.browser.execute_script(BUTTONS, name)
    menu.click()
    page.wait_for("Configure")
    page.browser.execute_script(MENU_ITEM, "Configure").click()
    page.wait_for("Save changes")
    page.browser.find_element("css selector", "[role=dialog] [role=switch]").click()
    page.click("Save changes")
    time.sleep(SETTLED)
    enlarge.click()
    time.sleep(SETTLED)


def search(page: Page, words: str) -> None:
    """Show the charts alone whose name has these words."""
    field = page.browser.find_element("css selector", "input[placeholder='Search metric charts']")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(words)
    time.sleep(2 * SETTLED)


if __name__ == "__main__":
    main()
