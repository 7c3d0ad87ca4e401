"""Who may import whom, and where imports are late: read from the code."""

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "src" / "imagelab"
MODULES = sorted(SOURCE.rglob("*.py"))
ONE_ROOM = {
    "mlflow": {"tracking", "registry", "serving", "prediction", "comparison"},
    "pyspark": {"prediction"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
    "prometheus_client": {"serving"},
    "scipy": {"evaluation"},
    "jinja2": {"comparison"},
    "argparse": {"settings"},
    "cleanlab": {"evaluation"},
    "optuna": {"tuning"},
    "matplotlib": {"figures", "tracking", "tuning"},  # tuning has Optuna's own figures
    "plotly": {"figures", "tracking"},
}
UPPER = {
    *(
        "experiment",
        "fit_from_settings",
        "training_series",
        "replication",
        "cross_validation",
        "reproduction",
        "reporting",
        "tuning",
        "registry",
        "serving",
        "prediction",
        "comparison",
    ),
    *("inspection", "ensemble", "learning_rate_finder", "distillation", "commands"),
}
OTHER_COMMANDS = {  # than those that train
    *("replication", "cross_validation", "reproduction", "inspection", "ensemble"),
    *("tuning", "registry", "serving", "comparison", "commands"),
}
LOWEST = (
    *("__init__", "atomic_files", "commands", "console", "errors", "keras_startup", "mlflow_command", "processor"),
    *("progress", "recipes", "signals", "tables"),
)
WHAT_TRAINS = {"training", "tuning", "experiment", "fit_from_settings"}
MUST_NOT = {  # each room, and each module beside them
    **{
        name: {*UPPER, "training", "tracking", "evaluation", "figures", "features", "data", "explanation", "doctor"}
        for name in LOWEST  # commands.py reaches the rest by name
    },
    "doctor": UPPER - {"registry"},
    "settings": {*UPPER, "training", "tracking", "evaluation", "figures", "doctor"},
    **{room: {*UPPER, "training", "tracking"} for room in ("data", "models", "evaluation", "explanation", "figures")},
    "features": {*UPPER, "training", "tracking", "settings"},
    "training": {*UPPER, "tracking", "settings"},
    "tracking": {*UPPER, "training", "figures", "evaluation"},
    "experiment": {*OTHER_COMMANDS, "training_series"},
    "fit_from_settings": {*OTHER_COMMANDS, "experiment", "training_series", "reporting", "tracking", "figures"},
    "training_series": OTHER_COMMANDS,
    "reproduction": {"replication", "inspection", "ensemble", "tuning", "serving", "prediction", "commands"},
    "replication": OTHER_COMMANDS - {"replication"},
    "cross_validation": OTHER_COMMANDS - {"cross_validation"},
    "learning_rate_finder": OTHER_COMMANDS,
    "reporting": UPPER - {"reporting", "prediction"},
    "reference": UPPER,
    "evaluation_report": UPPER - {"prediction"},
    "inspection": WHAT_TRAINS | {"ensemble", "serving", "commands"},
    "ensemble": WHAT_TRAINS | {"inspection", "serving", "commands"},
    "label_audit": {"training", *UPPER},
    "distillation": {"training", *UPPER} - {"distillation", "registry"},
    "tuning": OTHER_COMMANDS - {"tuning"},
    "prediction": WHAT_TRAINS | {"reporting", "figures", "evaluation", "comparison", "commands"},
    "serving": WHAT_TRAINS | {"reporting", "figures", "evaluation", "features", "comparison", "commands"},
    "registry": WHAT_TRAINS | {"reporting", "figures", "serving", "comparison", "commands"},
    "comparison": WHAT_TRAINS | {"reproduction", "reporting", "serving", "prediction", "commands"},
}
LONGER = {"served_model.py": 320}  # stored with each model, which needs nothing else of ours: one file
SLOW = {"tensorflow", "keras", "openvino", "mlflow", "sqlalchemy", "pandas", "scipy", "pyspark"}
LATE_MODULES = {  # modules of ours that import one of them (commands.py imports by name)
    "comparison/compare.py": {  # pandas, plotly, data sets: where there is nothing to compare, that is said at once
        *("imagelab.comparison.findings", "imagelab.comparison.pairs", "imagelab.comparison.comparison"),
        *("imagelab.comparison.report", "imagelab.comparison.results", "imagelab.comparison.sections"),
    },
    "reproduction/time_needed.py": {"imagelab.training.precision"},  # TensorFlow; wrong settings are refused at once
    "doctor.py": {"imagelab.training.precision"},  # it says, too, that TensorFlow is missing
    "features/feature_source.py": {"imagelab.features.extraction"},  # nothing is extracted where the cache has it all
    "registry/promotion.py": {"imagelab.registry.version_comparison"},  # TensorFlow
    "serving/served_version.py": {"imagelab.explanation.explainer"},  # Keras, which must have been started
    "tracking/delivery.py": {"imagelab.tracking.logged_model"},  # numpy and MLflow's models
    "tracking/run.py": {"imagelab.tracking.delivery", "imagelab.tracking.system_metrics"},  # MLflow
    "tracking/stored_settings.py": {"imagelab.data.split"},  # scikit-learn
    "tuning/summary.py": {"imagelab.experiment", "imagelab.tuning.figures"},  # Keras; Optuna's figures
    "tuning/worker.py": {"imagelab.tuning.trial_trainer"},  # Keras, which must have been started
}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def imports_of(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules_with(pattern: str) -> set[str]:
    """The modules in which a pattern stands."""
    return {name_of(path) for path in MODULES if re.search(pattern, path.read_text())}


def test_every_room_has_a_rule() -> None:
    assert {room_of(path) for path in MODULES} == set(MUST_NOT)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    names = imports_of(ast.parse(path.read_text()))
    ours = {name.split(".")[1] for name in names if name.startswith("imagelab.")}
    assert not ours & MUST_NOT[room_of(path)]
    assert not any(name.startswith("entrypoints") for name in names)
    for library, rooms in ONE_ROOM.items():
        assert room_of(path) in rooms or library not in {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_stay_small_and_have_telling_names(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGER.get(path.name, 220)
    assert path.stem not in ("utils", "helpers", "common", "base")


def test_pyspark_may_be_missing() -> None:
    """It is large and optional: one file knows it."""
    assert modules_with(r"(import|from) pyspark") == {"prediction/spark_engine.py"}


def test_the_served_model_needs_nothing_of_ours() -> None:
    tree = ast.parse((SOURCE / "serving" / "served_model.py").read_text())
    assert not [name for name in imports_of(tree) if name.startswith("imagelab")]


def test_imports_are_late_only_for_a_reason() -> None:
    """Of slow libraries, so that whatever needs none of them answers at once, and of what imports them in its turn."""
    for path in MODULES:
        late = {name.split(".")[0] if not name.startswith("imagelab") else name for name in late_imports(path)}
        allowed = SLOW | LATE_MODULES.get(name_of(path), set())
        assert late <= allowed, f"{name_of(path)} imports late: {late - allowed}"


def late_imports(path: Path) -> set[str]:
    """The modules that a module imports inside of functions."""
    functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    nodes = [node for function in functions for node in ast.walk(function)]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return imported | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
