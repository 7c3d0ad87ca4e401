"""The settings and the split that a run carries, read typed: nothing is parsed out of MLflow's parameters."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagelab.errors import TrackingError, one_line
from imagelab.settings import of_record
from imagelab.tracking.retry import request

if TYPE_CHECKING:
    from mlflow import MlflowClient, entities

    from imagelab.data.split import SplitSpec
    from imagelab.tracking.run import Run

SETTINGS, SPLIT = "settings.json", "split.json"  # artifacts
BEGIN_ANEW = "it cannot be gone on with: type the command without resume, which begins anew"


def settings_of(client: "MlflowClient", run: "entities.Run") -> dict[str, Any]:
    """The typed settings of a run: its tag `settings` or, where it has none, its artifact; empty where it has neither.

    Raises:
        TrackingError: the store does not answer, or the settings cannot be read.
    """
    text = run.data.tags.get("settings") or read_artifact(client, run.info.run_id, SETTINGS) or "{}"
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise TrackingError(f"the settings of run {run.info.run_id} cannot be read ({error})") from error


def log_split(run: "Run", split: "SplitSpec") -> None:
    """What `split_of` reads."""
    run.log_text(SPLIT, split.to_json())


def split_of(client: "MlflowClient", run: "entities.Run") -> "SplitSpec":
    """Which images the run has learned from and which it has chosen by.

    It is stored as `split.json`. Of a run without that, `settings.json` says the same, its seed being its `split_seed`.

    Raises:
        TrackingError: the run has neither, or something else under these names.
    """
    from imagelab.data.split import SplitSpec  # imports scikit-learn, which most commands need not wait for

    run_id = run.info.run_id
    try:
        if text := read_artifact(client, run_id, SPLIT):
            return SplitSpec.from_json(text)
        settings = of_record(json.loads(read_artifact(client, run_id, SETTINGS) or "{}"))
        return SplitSpec(settings["split_seed"], settings["validation_fraction"], settings["limit"])
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise TrackingError(f"run {run_id} does not say how its images were split ({reason})") from error


def read_artifact(client: "MlflowClient", run_id: str, name: str) -> str | None:
    """The text of a small artifact; None where the run has none of that name.

    Raises:
        TrackingError: the store does not answer, or the file is gone.
    """
    from mlflow.artifacts import load_text

    if name not in [file.path for file in request(client.list_artifacts, run_id)]:
        return None
    run = request(client.get_run, run_id)
    return str(request(load_text, f"{run.info.artifact_uri}/{name}"))


def record_in(path: Path) -> dict[str, Any]:
    """The settings that a run began with; a TrackingError says that the file is damaged."""
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise TrackingError(f"{path} is damaged ({one_line(error)}); {BEGIN_ANEW}") from error
    if not isinstance(found, dict):
        raise TrackingError(f"{path} is damaged (it holds no settings); {BEGIN_ANEW}")
    return found
