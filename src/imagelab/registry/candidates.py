"""Whose model is to be promoted: the best finished run, or the one that is named."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagelab.console import say
from imagelab.errors import SettingsError, TrackingError
from imagelab.settings import PromoteSettings
from imagelab.tracking import ask, is_missing, pages, runs_of_all

if TYPE_CHECKING:
    from imagelab.tracking import Client


@dataclass(frozen=True)
class Candidate:
    """A finished run, and the model that it has logged."""

    run_id: str
    model_id: str
    best_val_accuracy: float
    dataset_digest: str


def find_candidate(client: "Client", settings: PromoteSettings, rolled_back: Mapping[str, str]) -> Candidate:
    """The run `run_id`, or the best finished one of this data set and model that has a model.

    Args:
        rolled_back: models, and their versions, that somebody has gone back from: only `run_id` brings them again.

    Raises:
        SettingsError: there is no such run, or `run_id` names one of another data set or model, or without a model.
    """
    if settings.run_id:
        return named_run(client, settings.run_id, settings.dataset, settings.model)
    for run in runs_best_first(client, settings.dataset, settings.model):
        model_id = model_of(client, run)
        if version := rolled_back.get(model_id or ""):
            found = f"version {version} ({run.data.metrics['best_val_accuracy']:.2%})"
            say(f"{found} was rolled back, and is passed over; -P run_id={run.info.run_id} promotes it all the same")
        elif model_id:
            return candidate_of(run, model_id)
    train = f"mlflow run . -e train --env-manager local -P dataset={settings.dataset} -P model={settings.model}"
    raise SettingsError(f"no finished run of {settings.model} on {settings.dataset} has a model; train one: {train}")


def candidate_of(run: Any, model_id: str) -> Candidate:
    digest = run.data.tags.get("dataset_digest", "")
    return Candidate(run.info.run_id, model_id, run.data.metrics["best_val_accuracy"], digest)


def named_run(client: "Client", run_id: str, dataset: str, model: str) -> Candidate:
    try:
        run = ask(client.get_run, run_id)
    except TrackingError as error:
        if is_missing(error):
            raise SettingsError(f"run_id={run_id}: the tracking store has no such run") from error
        raise
    found = {name: run.data.tags.get(name) for name in ("dataset", "model")}
    if found != {"dataset": dataset, "model": model}:
        add = " ".join(f"-P {name}={value}" for name, value in found.items())
        raise SettingsError(f"run_id={run_id}: is no run of {model} on {dataset}, but one with {add}")
    if run.info.status != "FINISHED" or run.info.lifecycle_stage != "active":
        state = run.info.status if run.info.lifecycle_stage == "active" else "deleted"
        raise SettingsError(f"run_id={run_id}: is {state}; only a finished run can be promoted")
    model_id = model_of(client, run)
    if model_id is None or "best_val_accuracy" not in run.data.metrics:
        raise SettingsError(f"run_id={run_id}: has no model (a trial keeps none; train its settings)")
    return candidate_of(run, model_id)


def runs_best_first(client: "Client", dataset: str, model: str) -> Iterator[Any]:
    """Finished runs of every experiment, by best_val_accuracy; of equal ones the oldest first. Trials keep no model."""
    query = (
        f"attributes.status = 'FINISHED' and tags.dataset = '{dataset}' and tags.model = '{model}' "
        "and tags.trial_number IS NULL and metrics.best_val_accuracy >= 0"
    )
    order = ["metrics.best_val_accuracy DESC", "attributes.start_time ASC"]
    yield from runs_of_all(client, query, order)


def model_of(client: "Client", run: Any) -> str | None:
    """The model that the run has logged completely; the newest, should there be several."""
    found = pages(
        client.search_logged_models,
        experiment_ids=[run.info.experiment_id],
        filter_string=f"source_run_id = '{run.info.run_id}'",
    )
    ready = [model for model in found if model.status == "READY"]
    return str(max(ready, key=lambda model: model.creation_timestamp).model_id) if ready else None
