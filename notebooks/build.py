"""Makes the notebooks from their scripts: executes each on the real data and keeps it with its outputs.

    python -m notebooks.build                   all of them: `make notebooks`
    python -m notebooks.build 01_first_run      some of them

Each is executed in an empty folder of its own, which is deleted afterwards: its runs are in an `mlflow.db` there, so
that nobody's own runs are touched. Names of folders of this machine are taken out of the outputs.
"""

import base64
import io
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

from imagelab.console import say
from imagelab.data.cache import keras_home

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
SCRIPTS = sorted(FOLDER.glob("[0-9]*.py"))
LONGEST_CELL = 3600  # seconds, on a machine however busy
MOST_BYTES = 400_000  # of a notebook: a code host shows larger ones slowly or not at all
BOLD, NORMAL = "\x1b[1m", "\x1b[0m"  # of a terminal
EXPORTED = "INFO:tensorflow:Assets written to"  # to a folder that is deleted at once: no news to a reader
COLORS = 128  # of a picture
QUICK = "IMAGELAB_NOTEBOOK_QUICK"  # variable that makes a notebook small: the tests set it


def main(names: Sequence[str]) -> None:
    """Make the notebooks of these names, or all."""
    known = {script.stem: script for script in SCRIPTS}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"notebooks.build: there is no notebook {unknown[0]}; there are: {', '.join(known)}")
    for name in names or known:
        began = time.monotonic()
        make(known[name])
        size = kept(known[name]).stat().st_size
        say(f"{name}: {time.monotonic() - began:.0f} s, {size / 1000:.0f} KB")
        if size > MOST_BYTES:
            sys.exit(f"notebooks.build: {name} has {size:,} bytes, allowed are {MOST_BYTES:,}; show fewer pictures")


def make(script: Path) -> None:
    """Execute a script's notebook on the real data and write it beside the script."""
    with tempfile.TemporaryDirectory(prefix="imagelab-notebook-") as folder:
        notebook = read(script)
        client = NotebookClient(
            notebook, timeout=LONGEST_CELL, kernel_name="python3", extra_arguments=QUIETLY, **OPTIONS
        )
        client.execute(cwd=folder, env=environment(Path(folder)))
        shorten_paths(notebook, Path(folder))
    drop_empty_outputs(notebook)
    shrink_pictures(notebook)
    describe_pictures(notebook)
    nbformat.write(notebook, kept(script))


OPTIONS: dict[str, Any] = {"coalesce_streams": True, "record_timing": False, "startup_timeout": 600}
QUIETLY = ["--log-level=ERROR"]  # not that a kernel could be listened to on this machine


def kept(script: Path) -> Path:
    """The notebook that is kept beside a script."""
    return script.with_suffix(".ipynb")


def read(script: Path) -> Any:
    """A script as a notebook without outputs; its cells have the same ids each time."""
    notebook = jupytext.read(script)
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"cell-{number}"
    return notebook


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a kernel that works in an empty folder: this project's code, and runs and features there."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "IMAGELAB_"))}
    paths = [str(ROOT / "src"), str(ROOT), *filter(None, [given.get("PYTHONPATH")])]
    own = {
        "PYTHONPATH": os.pathsep.join(paths),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "IMAGELAB_FEATURE_CACHE": str(folder / "features"),
        "MLFLOW_LOGGING_LEVEL": "WARNING",  # not that it makes its database
        "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm: no widgets, which a page could not show anyway
    }
    return {**given, **own, **more}


def shorten_paths(notebook: Any, folder: Path) -> None:
    """Take what only this machine has out of the texts of all outputs, and what only a terminal shows."""
    shorter = {
        BOLD: "",
        NORMAL: "",
        f"{folder}/": "",
        str(folder): ".",
        str(keras_home()): "~/.keras",
        f"{ROOT}/": "",
        str(ROOT): ".",
    }
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            replace_in(output, shorter)


def describe_pictures(notebook: Any) -> None:
    """Name the section that a picture belongs to, for those who have it read to them."""
    section = ""
    for cell in notebook.cells:
        headings = [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")]
        section = headings[-1] if cell.cell_type == "markdown" and headings else section
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.metadata.setdefault("image/png", {})["alt"] = f"figure of the section {section}"


def shrink_pictures(notebook: Any) -> None:
    """Write pictures with a table of 128 colours, which one cannot tell by eye: a third of the size."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if picture := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = with_few_colors(picture)


def with_few_colors(picture: str) -> str:
    """A PNG, as base64 text, with at most COLORS colours."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    content = io.BytesIO()
    image.quantize(COLORS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def drop_empty_outputs(notebook: Any) -> None:
    """Leave away what shows nothing: a progress bar that has nowhere to be drawn leaves an empty line."""
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if not is_empty(output)]


def is_empty(output: Any) -> bool:
    lines = output.get("text", "").split("\n")
    if output.output_type == "stream" and all(line.startswith(EXPORTED) for line in lines if line):
        return True
    data = output.get("data", {})
    return set(data) == {"text/html", "text/plain"} and not data["text/plain"].strip()


def replace_in(values: Any, shorter: Mapping[str, str]) -> None:
    """Replace in each text of a tree of dictionaries; pictures, which are base64 text, hold no path."""
    for key, value in values.items():
        if isinstance(value, dict):
            replace_in(value, shorter)
        elif isinstance(value, str):
            for long, short in shorter.items():
                value = value.replace(long, short)  # noqa: PLW2901
            values[key] = value


if __name__ == "__main__":
    main(sys.argv[1:])
