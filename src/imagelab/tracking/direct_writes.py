"""Writes to runs that no process is working on: a few words each, written at once, without an outbox."""

from typing import TYPE_CHECKING

from imagelab.errors import TrackingError
from imagelab.signals import uninterrupted
from imagelab.tracking.resume import this_process
from imagelab.tracking.retry import code_of, request
from imagelab.tracking.start import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient


def create_history_run(client: "MlflowClient", registered_model: str) -> str:
    """A run to keep the history of a registered model in; its id. It is FINISHED, and takes parameters all the same."""
    from mlflow.tracking.context import registry

    ours = {"role": "history", "phase": "history", "registered_model": registered_model}
    tags = {**registry.resolve_tags(), **ours, **this_process()}
    experiment = request(experiment_id, client)
    with uninterrupted():  # else it could be left open
        run = request(client.create_run, experiment, None, tags, f"history of {registered_model}")
        request(client.set_terminated, run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def delete_run(client: "MlflowClient", run_id: str) -> None:
    request(client.delete_run, run_id)


def set_run_tag(client: "MlflowClient", run_id: str, key: str, value: str) -> None:
    request(client.set_tag, run_id, key, value)


def write_param_once(client: "MlflowClient", run_id: str, key: str, value: str) -> bool:
    """Whether the parameter has this value now; if not, it had another one before.

    MLflow takes a second value of a parameter only if it equals the first: the database's primary key decides.
    """
    try:
        request(client.log_param, run_id, key, value)
    except TrackingError as error:
        if code_of(error) != "INVALID_PARAMETER_VALUE":
            raise
        known = request(client.get_run, run_id).data.params
        if key not in known:
            raise
        return bool(known[key] == value)
    return True
