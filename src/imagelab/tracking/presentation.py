"""How MLflow's UI shows runs: their names (ours, unless the user has given one), descriptions, and columns."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagelab.tracking.run import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_NAME, NOTE, PARENT = "mlflow.runName", "mlflow.note.content", "mlflow.parentRunId"  # MLflow's tags

# MLflow keeps the columns of the list of runs in each browser. What its button "Share" makes is kept in a tag of the
# experiment, by a key that the address names: `.../runs?viewStateShareKey=imagelab`. The tag's form is MLflow's own.
VIEW = "mlflow.sharedViewState.imagelab"
METRICS = ("best_val_accuracy", "test_accuracy", "test_accuracy_mean", "test_accuracy_std", "training_seconds")
COLUMNS = (
    *("attributes.`Duration`", "tags.`role`", "tags.`dataset`", "tags.`model`"),
    *(f"metrics.`{name}`" for name in (*METRICS, "parameter_count")),
    *(f"params.`{name}`" for name in ("recipe", "learning_rate", "batch_size", "epochs", "seed")),
)


def offer_columns(client: "MlflowClient", experiment_id: str) -> None:
    """Let the experiment have a shared view with the columns that tell our runs apart; not worth failing for."""
    from mlflow.exceptions import MlflowException

    view = json.dumps({"selectedColumns": COLUMNS})
    with suppress(MlflowException):
        if client.get_experiment(experiment_id).tags.get(VIEW) != view:
            client.set_experiment_tag(experiment_id, VIEW, view)


def give_name(client: "MlflowClient", run_id: str, name: str) -> None:
    """Name a run that `mlflow run` has opened, unless `--run-name` has named it."""
    if is_invented(client.get_run(run_id).info.run_name or ""):
        client.set_tag(run_id, RUN_NAME, name)


def is_invented(name: str) -> bool:
    """Whether MLflow has made up the name, as respected-turtle-65.

    Nothing public says so: the words that it is made of are looked up in MLflow's own lists.
    """
    from mlflow.utils.name_utils import _GENERATOR_NOUNS, _GENERATOR_PREDICATES

    predicate, _, rest = name.partition("-")
    noun, _, number = rest.partition("-")
    return predicate in _GENERATOR_PREDICATES and noun in _GENERATOR_NOUNS and number.isdecimal()


def log_description(run: Run, text: str, note: str | None = None, addition: str = "") -> None:
    """What stands above the run (Markdown): the user's note, if there is one, and this text below it.

    Args:
        addition: text below that, which may be missing so far.
        note: None: what stands there now, which may have been written in MLflow's page, or the setting `note`.
    """
    if note is None:
        note = run.tags.get(NOTE) or str(run.settings.get("note") or "")
    note = note.removesuffix(addition).rstrip().removesuffix(text).rstrip()  # an earlier process has written these
    run.log_tags(**{NOTE: "\n\n".join(filter(None, (note, text, addition)))})


def show_side_by_side(run: Run, name: str, timestamp: int) -> None:
    """Let a PNG that was logged be shown beside those of other runs, in an image grid of MLflow's charts.

    Args:
        name: of the artifact.
        timestamp: what it is known by, in milliseconds since 1970; the same picture is shown once.
    """
    run.outbox.append("image", path=name, key=Path(name).stem, timestamp=timestamp)
