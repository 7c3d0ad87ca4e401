"""The table of commands, and what each does around its work: settings, signals, errors as one line, an exit code.

The one place that imports late: `--help` and wrong settings answer at once, without TensorFlow or MLflow.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from pydantic import BaseModel

from imagelab.console import say, show
from imagelab.errors import ImagelabError, Interrupted, SettingsError, unswallowed
from imagelab.keras_startup import start_keras
from imagelab.settings import (
    CompareSettings,
    CrossValidateSettings,
    DoctorSettings,
    EmptyFeatureCacheSettings,
    EnsembleSettings,
    EvaluateSettings,
    ExperimentSettings,
    ExplainSettings,
    FindLrSettings,
    PredictSettings,
    PromoteSettings,
    ReproduceSettings,
    RollbackSettings,
    ServeSettings,
    TrainSettings,
    TuneSettings,
    parse,
)
from imagelab.signals import INTERRUPTED, Interruption, interruptible

DONE, FAILED, WRONG_SETTINGS = 0, 1, 2  # exit codes


@dataclass(frozen=True)
class Command:
    """A command of `mlflow run . -e NAME`.

    Attributes:
        settings: the class whose fields are its settings.
        check: "module:function" that refuses settings that cannot be worked on, before Keras is started, which takes
            seconds; empty: there is nothing to check.
        function: "module:function" that does the work: takes the settings, returns the line that is shown at the end.
        needs_keras: whether that module imports Keras, which must be started quietly before.
        needs_run: whether it works on an MLflow run, or may; the one that `mlflow run` has opened is deleted otherwise.
    """

    settings: type[BaseModel]
    function: str
    check: str = ""
    needs_keras: bool = False
    needs_run: bool = True

    def work(self, settings: BaseModel) -> str:
        """Do the work; return the line that says what came out."""
        try:
            if isinstance(settings, ExperimentSettings) and (settings.like or settings.settings):
                settings = load("imagelab.tracking.starting_settings:over_what_is_named")(settings)
            if self.check:
                load(self.check)(settings)
            if self.needs_keras:
                start_keras()
        except Interrupted:
            say("interrupted; nothing was begun")
            raise
        return str(load(self.function)(settings))


def load(name: str) -> Callable[[Any], Any]:
    """A function by "module:function"."""
    module, function = name.split(":")
    found: Callable[[Any], Any] = getattr(import_module(module), function)
    return found


COMMANDS = {
    "train": Command(
        TrainSettings, "imagelab.replication:train", "imagelab.distillation:refuse_early", needs_keras=True
    ),
    "cross_validate": Command(
        CrossValidateSettings,
        "imagelab.cross_validation:cross_validate",
        "imagelab.tracking.resume:refuse_early",
        needs_keras=True,
    ),
    "tune": Command(TuneSettings, "imagelab.tuning.tune:tune"),
    "find_lr": Command(FindLrSettings, "imagelab.learning_rate_finder:find_learning_rate", needs_keras=True),
    "evaluate": Command(
        EvaluateSettings,
        "imagelab.inspection.evaluate:evaluate",
        "imagelab.registry.named_model:refuse_what_is_not_there",
        needs_keras=True,
    ),
    "explain": Command(
        ExplainSettings,
        "imagelab.inspection.explain:explain_model",
        "imagelab.registry.named_model:refuse_what_is_not_there",
        needs_keras=True,
    ),
    "compare": Command(CompareSettings, "imagelab.comparison.compare:compare"),
    "ensemble": Command(
        EnsembleSettings,
        "imagelab.ensemble.ensemble:ensemble",
        "imagelab.ensemble.members:refuse_early",
        needs_keras=True,
    ),
    "reproduce": Command(
        ReproduceSettings,
        "imagelab.reproduction.reproduce:reproduce",
        "imagelab.reproduction.time_needed:refuse_early",
        needs_keras=True,
    ),
    "promote": Command(PromoteSettings, "imagelab.registry.promotion:promote"),
    "rollback": Command(RollbackSettings, "imagelab.registry.rollback:roll_back"),
    "predict": Command(PredictSettings, "imagelab.prediction.predict:predict"),
    "serve": Command(ServeSettings, "imagelab.serving.server:serve", needs_run=False),
    "doctor": Command(DoctorSettings, "imagelab.doctor:doctor", needs_run=False),  # starts Keras as one of its checks
    "empty_feature_cache": Command(
        EmptyFeatureCacheSettings, "imagelab.features.quota:empty_feature_cache", needs_run=False
    ),
}


def main(name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command on its arguments (those of the command line), show the line it returns (if any) and exit.

    Exit codes: 0 done; 1 failed, 2 wrong settings, each with its reason in one line on standard error; 130 interrupted.
    A server is ended by an interruption: `serve` then exits with 0.
    """
    command = COMMANDS[name]
    try:
        with interruptible() as interruption, unswallowed():
            settings = parse(command.settings, name, sys.argv[1:] if arguments is None else arguments)
            follow_mlflow_run(interruption)
            if not command.needs_run:
                release_project_run("delete")
            if line := command.work(settings):
                show(line)
    except Interrupted:
        release_project_run("KILLED")
        sys.exit(INTERRUPTED)
    except SystemExit:  # after --help
        release_project_run("delete")
        raise
    except SettingsError as error:
        release_project_run("delete")
        fail(name, str(error), WRONG_SETTINGS)
    except ImagelabError as error:
        release_project_run("FAILED")
        fail(name, str(error), FAILED)
    except Exception as error:
        release_project_run("FAILED")
        if os.environ.get("IMAGELAB_TRACEBACK"):
            raise
        what = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
        fail(name, f"{what} (IMAGELAB_TRACEBACK=1 shows where)", FAILED)
    sys.exit(DONE)


def fail(name: str, reason: str, code: int) -> NoReturn:
    say(f"{name}: {' '.join(reason.split())}")
    sys.exit(code)


def follow_mlflow_run(interruption: Interruption) -> None:
    """Interrupt this process when the `mlflow run` above it, if there is one, has ended."""
    if os.environ.get("MLFLOW_RUN_ID"):
        import_module("imagelab.tracking").end_with_mlflow_run(interruption.terminate)


def release_project_run(status: str) -> None:
    """Let the run that `mlflow run` has opened be KILLED, FAILED, or deleted ("delete"), if no work has begun on it."""
    if os.environ.get("MLFLOW_RUN_ID"):
        import_module("imagelab.tracking").release_project_run(status)
