"""Whose model is to be promoted: the best finished run, or the one that is named."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagelab.console import command_line, say
from imagelab.errors import SettingsError
from imagelab.registry.overview import final_runs_best_first, limit_of, nothing_to_work_on
from imagelab.settings import PromoteSettings
from imagelab.tracking import model_of, request_or_none
from imagelab.tracking.roles import OTHER_ROLES, existing_run, role_of, state_of

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
    limited: list[Any] = []
    found = next(eligible_runs(client, settings, rolled_back, limited), None)
    if limited:
        say(passed_over(limited))
    if found:
        return found
    reason = f"no finished run of {settings.model} on {settings.dataset} has a model"
    if limited:
        reason = f"every run of {settings.model} on {settings.dataset} with a model was trained with a limit of images"
        raise nothing_to_work_on(client, "promote", f"{reason}; give run_id=..., or train on all of them")
    train = command_line("train", dataset=settings.dataset, model=settings.model)
    raise nothing_to_work_on(client, "promote", f"{reason}; train one: {train}")


def eligible_runs(
    client: "Client", settings: PromoteSettings, rolled_back: Mapping[str, str], limited: list[Any]
) -> Iterator[Candidate]:
    """Runs that can be promoted without being named, the best first; those with `limit` are put into `limited`."""
    conditions = (f"tags.dataset = '{settings.dataset}'", f"tags.model = '{settings.model}'")
    for run in final_runs_best_first(client, *conditions):
        model_id = model_of(client, run)
        if model_id is None:
            continue
        if version := rolled_back.get(model_id):
            say(f"version {version} ({accuracy_of(run)}) was rolled back, and is passed over; {by_name(run)}")
        elif limit_of(client, run) is not None:
            limited.append(run)
        else:
            yield candidate_of(run, model_id)


def passed_over(limited: list[Any]) -> str:
    """That better runs than the one promoted have learned from few images only; the best of them comes first."""
    best, *others = limited
    more = f" and {len(others)} more have" if others else " has"
    it = "they are" if others else "it is"
    return (
        f"run {best.info.run_id} ({accuracy_of(best)}){more} a limit of training images, so {it} passed over; "
        f"{by_name(best)}"
    )


def accuracy_of(run: Any) -> str:
    return f"{run.data.metrics['best_val_accuracy']:.2%}"


def by_name(run: Any) -> str:
    return f"-P run_id={run.info.run_id} promotes it all the same"


def candidate_of(run: Any, model_id: str) -> Candidate:
    digest = run.data.tags.get("dataset_digest", "")
    return Candidate(run.info.run_id, model_id, run.data.metrics["best_val_accuracy"], digest)


def named_run(client: "Client", run_id: str, dataset: str, model: str) -> Candidate:
    run = existing_run(client, run_id)
    if (role := role_of(trained_by(client, run))) != "final":
        raise SettingsError(f"run_id={run_id}: is {OTHER_ROLES.get(role, f'a run of another kind ({role})')}")
    found = {name: run.data.tags.get(name) for name in ("dataset", "model")}
    if found != {"dataset": dataset, "model": model}:
        add = " ".join(f"-P {name}={value}" for name, value in found.items())
        raise SettingsError(f"run_id={run_id}: is no run of {model} on {dataset}, but one with {add}")
    if (state := state_of(run)) != "FINISHED":
        raise SettingsError(f"run_id={run_id}: is {state}; only a finished run can be promoted")
    model_id = model_of(client, run)
    if model_id is None or "best_val_accuracy" not in run.data.metrics:
        raise SettingsError(f"run_id={run_id}: has no model")
    return candidate_of(run, model_id)


def trained_by(client: "Client", run: Any) -> Any:
    """The run that has trained a network: of an evaluation that has calibrated one, the run that this was about."""
    if "temperature" not in run.data.metrics:
        return run
    evaluated = request_or_none(client.get_run, run.data.tags.get("evaluated_run", ""))
    return trained_by(client, evaluated) if evaluated else run
