"""Who may import whom, as DESIGN has it, read from the code."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "src" / "imagelab"
MODULES = sorted(SOURCE.rglob("*.py"))
ONE_ROOM = {
    "mlflow": {"tracking", "registry", "serving", "prediction"},
    "pyspark": {"prediction"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
    "prometheus_client": {"serving"},
    "scipy": {"registry"},
    "argparse": {"settings"},
    "optuna": {"tuning"},
    "matplotlib": {"figures", "tracking", "tuning"},  # tuning has Optuna's own figures
    "plotly": {"figures", "tracking"},
}
UPPER = {"experiment", "reporting", "tuning", "registry", "serving", "prediction"}
MUST_NOT = {
    "settings": {*UPPER, "training", "tracking", "evaluation", "figures", "command", "doctor"},
    **{room: {*UPPER, "training", "tracking"} for room in ("data", "models", "evaluation", "figures")},
    "training": {*UPPER, "tracking", "settings"},
    "tracking": {*UPPER, "training", "figures", "evaluation"},
    "experiment": {"tuning", "registry", "serving"},
    "reporting": {"tuning", "experiment", "registry", "serving"},
    "tuning": {"registry", "serving"},
    "prediction": {"training", "tuning", "experiment", "reporting", "figures", "evaluation"},
    "serving": {"training", "tuning", "experiment", "reporting", "figures", "evaluation", "features"},
    "registry": {"training", "tuning", "experiment", "reporting", "figures", "serving"},
}
LONGER = {"served_model.py": 320}  # stored with each model, which needs nothing else of ours: one file


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    names = imports_of(path)
    ours = {name.split(".")[1] for name in names if name.startswith("imagelab.")}
    assert not ours & MUST_NOT.get(room_of(path), set())
    assert not any(name.startswith("entrypoints") for name in names)
    for library, rooms in ONE_ROOM.items():
        assert room_of(path) in rooms or library not in {name.split(".")[0] for name in names}


def test_pyspark_may_be_missing() -> None:
    """It is large and optional: one file knows it."""
    knowing = [path for path in MODULES if any(name.startswith("pyspark") for name in imports_of(path))]
    assert [path.name for path in knowing] == ["spark.py"]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_files_stay_small_and_have_telling_names(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGER.get(path.name, 220)
    assert path.stem not in ("utils", "helpers", "common", "base")


def test_the_served_model_needs_nothing_of_ours() -> None:
    assert not [name for name in imports_of(SOURCE / "serving" / "served_model.py") if name.startswith("imagelab")]
