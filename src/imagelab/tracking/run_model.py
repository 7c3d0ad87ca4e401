"""Which of the models that a run has logged is the run's model: the newest that is complete."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from imagelab.tracking.retry import pages

if TYPE_CHECKING:
    from mlflow import MlflowClient


def model_of(client: "MlflowClient", run: Any) -> str | None:
    """The id of the run's model; None where it has none."""
    where = {"experiment_ids": [run.info.experiment_id], "filter_string": logged_by(run.info.run_id)}
    return newest_complete(pages(client.search_logged_models, **where))


def logged_by(run_id: str) -> str:
    """The filter for every model that a run has begun to log."""
    return f"source_run_id = '{run_id}'"


def newest_complete(models: Iterable[Any]) -> str | None:
    ready = [model for model in models if model.status == "READY"]
    return str(max(ready, key=lambda model: model.creation_timestamp).model_id) if ready else None
