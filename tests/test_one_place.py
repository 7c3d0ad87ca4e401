"""What only one place does: who writes to runs, trains, loads models and reads parameters; read from the code."""

import ast
import re

import mlflow
from mlflow import MlflowClient

from imagelab.tracking import Run
from tests.test_architecture import MODULES, modules_with, name_of

WRITING = re.compile(
    r"(log|set|delete|create|update|restore|finalize|record|link|unlink|start|end)_"
    r"(?!registered_model|model_version|prompt|mcp|webhook|workspace|tracking_uri|registry_uri)"  # none is of runs
)
WRITES_TO_RUNS = {name for name in {*dir(MlflowClient), *dir(mlflow), "log_model"} if WRITING.match(name)}
OF_OUR_RUN = {f"{run}.{name}" for run in ("run", "self.run", "parent") for name in dir(Run) if name.startswith("log_")}
MAY_WRITE = {
    "registry/registration.py: model.client.set_logged_model_tags",  # which versions the page of a model shows
    "tuning/worker.py: self.end_run",  # its own method, which ends the run by tracking
}

ONLY_THESE = {  # a name that is not ours: each module that has it, and how
    "fit": {
        "training/loop.py: model.fit",
        *("experiment.py: fitter.fit", "tuning/trial_trainer.py: self.fitter.fit"),  # the Fitter of training
        *("evaluation/label_errors.py: PCA().fit", "evaluation/label_errors.py: self.search.fit"),  # scikit-learn's
    },
    "compile": {"training/compilation.py: model.compile", "mlflow_command.py: re.compile"},
    "train_on_batch": set(),
    "load_model": {
        "registry/loaded_model.py: mlflow.pyfunc.load_model",
        "serving/served_model.py: keras.saving.load_model",
    },
    "set_random_seed": {"training/fitting.py: keras.utils.set_random_seed"},
    "set_dtype_policy": {"training/precision.py: keras.config.set_dtype_policy"},
    "set_global_policy": set(),
}


def uses(names: set[str]) -> set[str]:
    """Where names stand, called or not, after any receiver or imported from elsewhere: `module: receiver.name`."""
    return {
        f"{name_of(path)}: {use}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        for use in uses_in(node, names)
    }


def uses_in(node: ast.AST, names: set[str]) -> list[str]:
    if isinstance(node, ast.Attribute) and node.attr in names:
        return [re.sub(r"\(.*\)", "()", ast.unparse(node), flags=re.DOTALL)]
    if isinstance(node, ast.ImportFrom) and not str(node.module).startswith("imagelab"):
        return [f"{node.module}.{alias.name}" for alias in node.names if alias.name in names]
    return []


def test_only_tracking_writes_to_runs() -> None:
    assert {"set_tag", "log_metric", "log_batch", "set_terminated", "finalize_logged_model"} < WRITES_TO_RUNS
    written = {use for use in uses(WRITES_TO_RUNS) if not use.startswith("tracking/")}
    assert {use for use in written if use.split(": ")[1] not in OF_OUR_RUN} == MAY_WRITE


def test_only_these_train_and_load_models() -> None:
    assert {name: uses({name}) for name in ONLY_THESE} == ONLY_THESE


def test_nothing_is_parsed_out_of_parameters() -> None:
    """Three modules look at parameters: that of the history of a model, and two that ask what is written already."""
    readers = {"registry/event_log.py", "tracking/delivery.py", "tracking/direct_writes.py"}
    assert modules_with(r"data\.params\b") == readers
    assert not modules_with(r"\b(int|float|bool|literal_eval)\([\w.()]*params(\[|\.get\()")
    assert not modules_with(r"params(\[|\.get\().* [!=]= \"None\"")


def test_tracking_knows_nothing_of_serving() -> None:
    assert not [name for name in modules_with(r'serving[/"]') if name.startswith("tracking/")]


def test_what_stands_in_one_place() -> None:
    splitting = modules_with(r"\btrain_test_split\(|StratifiedKFold\(")
    assert splitting - {"data/digits.py"} == {"data/split.py"}  # digits come without an official test split
    assert modules_with(r"^class Run\b|\nclass Run\b") == {"tracking/run.py"}
    assert modules_with(r"\bget_model_version\(|get_model_version,") == {"registry/find_version.py"}
    assert modules_with(r"\bbuild_model\(") == {"models/__init__.py", "training/fitting.py"}
    assert modules_with(r'"split\.json"') == {"tracking/stored_settings.py"}
    assert modules_with(r"rich\.(progress|live)|import (Progress|Live)\b") == {"progress.py"}
