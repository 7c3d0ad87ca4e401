"""The notebooks: their scripts run on tiny data without a warning of deprecation, and what is kept is what they are."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from notebooks.build import FOLDER, MOST_BYTES, OPTIONS, QUICK, QUIETLY, SCRIPTS, environment, kept, read
from tests.accessibility import VIEWS, emulate, serious_problems
from tests.conftest import LONGEST, ROOT
from tests.test_readme import blocks, headings_of

PNG = "data:image/png;base64"  # how a page holds its pictures
DEPRECATED = ("DeprecationWarning", "FutureWarning")
# Each notebook begins as a new kernel would, but for modules that are imported already: TensorFlow takes seconds.
# A deprecation that our code or a notebook is warned of is an error; those of other libraries' own code are not ours.
FRESH = """
get_ipython().run_line_magic("reset", "-f")
import warnings
for category in (DeprecationWarning, FutureWarning):
    warnings.filterwarnings("error", category=category, module=r"imagelab|entrypoints|__main__")
del warnings, category
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, mobilenet_weights: str) -> Iterator[Any]:
    """One kernel for all notebooks, in an empty folder."""
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copy(mobilenet_weights, folder / "mobilenet.weights.h5")
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder), env=environment(folder, **{QUICK: "1"}), extra_arguments=QUIETLY)
    processes = psutil.Process(manager.provisioner.process.pid)
    yield manager
    started = processes.children(recursive=True) if processes.is_running() else []
    manager.shutdown_kernel(now=True)
    for process in started:  # a server, where the cell that ends it was not reached
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.thorough
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_notebook_runs_on_tiny_data(script: Path, kernel: Any) -> None:
    notebook = read(script)
    for cell in notebook.cells:
        cell.source = cell.source.removeprefix("%%capture\n")  # what is warned of is to be seen here
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FRESH))
    NotebookClient(notebook, km=kernel, timeout=int(LONGEST), **OPTIONS).execute()
    shown = "".join(text_of(output) for output in outputs_of(notebook))
    assert [word for word in DEPRECATED if word in shown] == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the kept notebooks as web pages, made by the command of docs/architecture.md."""
    (command,) = (block for block in blocks((ROOT / "docs" / "architecture.md").read_text(), "bash") if "html" in block)
    folder = tmp_path_factory.mktemp("pages")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    typed = f"{command.strip()} --output-dir='{folder}'"
    subprocess.run(["bash", "-c", typed], cwd=ROOT, env={**os.environ, "PATH": path}, check=True, capture_output=True)
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_as_a_page_it_needs_no_network_and_is_accessible(script: Path, pages: Path, browser: Any) -> None:
    page = pages / f"{script.stem}.html"
    assert set(re.findall(r"<(?:script|link|img)\b[^>]*?\b(?:src|href)=[\"']([^\"',]*)", page.read_text())) == {PNG}
    alternatives = re.findall(r'<img[^>]* alt="([^"]*)"', page.read_text())
    assert alternatives
    assert all(text.startswith("figure of the section ") for text in alternatives)
    for width, scheme in VIEWS:
        emulate(browser, width, scheme)
        browser.get(page.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert serious_problems(browser) == []
    assert browser.get_log("browser") == []


def outputs_of(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def text_of(output: Any) -> str:
    """What is read of an output; not its pictures."""
    data = output.get("data", {})
    return "".join([output.get("text", ""), *(text for kind, text in data.items() if kind.startswith("text/"))])


def cells_of(notebook: Any) -> list[tuple[str, str, list[str]]]:
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_kept_notebook_is_its_script_with_outputs(script: Path) -> None:
    notebook = nbformat.read(kept(script), as_version=4)
    nbformat.validate(notebook)
    assert cells_of(notebook) == cells_of(read(script)), f"make it anew: python -m notebooks.build {script.stem}"
    outputs = outputs_of(notebook)
    assert next(cell.execution_count for cell in notebook.cells if cell.cell_type == "code") == 1
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert not [output for output in outputs if output.output_type == "error"]
    assert [output for output in outputs if "image/png" in output.get("data", {})]
    assert kept(script).stat().st_size < MOST_BYTES


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_kept_notebook_names_no_folder_of_the_machine_that_made_it(script: Path) -> None:
    notebook = nbformat.read(kept(script), as_version=4)
    shown = "\n".join(text_of(output) for output in outputs_of(notebook))
    assert re.findall(r"(?<![\w.~/:<])/(?:\w[\w.-]*/)+[\w.-]+", shown) == []
    assert os.uname().nodename not in shown


def test_there_are_six_stories_and_none_is_left_over() -> None:
    names = ["first_run", "compare_runs", "transfer_learning", "tuning", "registry_and_serving", "reading_mistakes"]
    assert [script.stem for script in SCRIPTS] == [f"0{number}_{name}" for number, name in enumerate(names, 1)]
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {script.stem for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_story_ends_with_the_command_that_does_the_same(script: Path) -> None:
    last = read(script).cells[-1]
    assert last.cell_type == "markdown"
    assert any("mlflow run . -e " in block for block in blocks(last.source, "bash"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_links_of_a_story_lead_somewhere(script: Path) -> None:
    text = "\n".join(cell.source for cell in read(script).cells if cell.cell_type == "markdown")
    for target, heading in re.findall(r"\]\((?!http)([^)#]+)(?:#([^)]+))?\)", text):
        path = FOLDER / target
        assert path.exists(), target
        assert not heading or heading in headings_of(path), f"{target}#{heading}"
