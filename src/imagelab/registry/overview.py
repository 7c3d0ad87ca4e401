"""What there is to promote, serve, predict with and roll back, for whoever has named something that is not there."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import TYPE_CHECKING, Any

from imagelab.console import command_line, say
from imagelab.data import DATASETS
from imagelab.errors import SettingsError, TrackingError
from imagelab.models import REGISTRABLE
from imagelab.registry.creation import HISTORY_CLAIM
from imagelab.registry.find_version import find_version
from imagelab.tracking import model_of, pages, runs_of_all, settings_of
from imagelab.tracking.roles import FINAL, role_of

if TYPE_CHECKING:
    from imagelab.tracking import Client

TRAINED = "attributes.status = 'FINISHED' and metrics.best_val_accuracy >= 0"
BEST_FIRST = ("metrics.best_val_accuracy DESC", "attributes.start_time ASC")


@dataclass(frozen=True)
class TrainedModel:
    """The best finished run of a data set and model that can be promoted.

    Attributes:
        limit: it was trained on so many images only, and is promoted only if its run is named; None: on all.
    """

    dataset: str
    model: str
    best_val_accuracy: float
    run_id: str
    limit: int | None = None


@dataclass(frozen=True)
class RegisteredModelRow:
    """A registered model: its champion's version, that before, and the accuracy with which it became champion.

    Attributes:
        champion, previous, accuracy: None where there is none, or where the accuracy is not known.
    """

    name: str
    champion: str | None
    previous: str | None
    accuracy: str | None


def trained_models(client: "Client") -> list[TrainedModel]:
    """The best run of each data set and model, in alphabetical order; one with a limit where there is no other."""
    found: dict[tuple[str, str], TrainedModel] = {}
    for run in final_runs_best_first(client):
        names = (run.data.tags.get("dataset", ""), run.data.tags.get("model", ""))
        known = found.get(names)
        if not all(names) or (known and known.limit is None) or model_of(client, run) is None:
            continue
        limit = limit_of(client, run)
        if known is None or limit is None:
            found[names] = TrainedModel(*names, run.data.metrics["best_val_accuracy"], run.info.run_id, limit)
    return [found[names] for names in sorted(found)]


def registered_models_overview(client: "Client") -> list[RegisteredModelRow]:
    """Every registered model, in alphabetical order."""
    rows = []
    for model in pages(client.search_registered_models):
        if HISTORY_CLAIM not in model.tags and is_of_ours(model.name):
            champion, previous = (model.aliases.get(alias) for alias in ("champion", "previous"))
            versions = (champion and str(champion), previous and str(previous))
            rows.append(RegisteredModelRow(model.name, *versions, accuracy_of(client, model)))
    return sorted(rows, key=lambda row: row.name)


def is_of_ours(name: str) -> bool:
    """Whether a registered model is named DATASET-MODEL, so that our commands can work with it."""
    dataset, _, model = name.rpartition("-")
    return dataset in DATASETS and model in REGISTRABLE


def accuracy_of(client: "Client", model: Any) -> str | None:
    """With which validation accuracy its champion was compared or, of one named by hand, chosen in its training."""
    champion = model.aliases.get("champion")
    if champion is None:
        return None
    version = find_version(client, model.name, str(champion))
    tags = version.tags if version else {}
    trained = tags.get("best_val_accuracy")
    return tags.get("accuracy") or (f"{float(trained):.2%}" if trained else None)


def overview_lines(client: "Client", command: str) -> list[str]:
    """What there is, a line each, with the command for it.

    Args:
        command: what was typed: promote lists trained models; serve, predict and rollback list registered ones first.
    """
    lines = [] if command == "promote" else list(registered_lines(client, command))
    trained = trained_models(client)
    lines.append("trained models that can be promoted:" if trained else "no model has been trained yet:")
    return [*lines, *map(trained_line, trained)] if trained else [*lines, f"  {command_line('train')}"]


def trained_line(row: TrainedModel) -> str:
    limited = "" if row.limit is None else f" (of {row.limit:,} training images only)"
    named = "" if row.limit is None else f" -P run_id={row.run_id}"
    command = command_line("promote", dataset=row.dataset, model=row.model)
    return (
        f"  {row.model} on {row.dataset}, validation accuracy {row.best_val_accuracy:.2%}{limited}:  {command}{named}"
    )


def registered_lines(client: "Client", command: str) -> Iterator[str]:
    rows = registered_models_overview(client)
    yield "registered models:" if rows else "no model has been registered yet"
    for row in rows:
        champion = f"champion is version {row.champion}" if row.champion else "no champion"
        accuracy = f", validation accuracy {row.accuracy}" if row.accuracy else ""
        what = command_for(command, row.name)
        if command == "rollback" and not row.previous:
            what = "no previous champion to go back to"
        yield f"  {row.name}, {champion}{accuracy}:  {what}"


def command_for(command: str, registered_model: str) -> str:
    """A command about a registered model DATASET-MODEL, to be typed as it is."""
    dataset, _, model = registered_model.rpartition("-")
    return command_line(command, dataset=dataset, model=model)


def nothing_to_work_on(client: "Client", command: str, reason: str) -> SettingsError:
    """Say what there is; return the error to raise, with `reason` in one line."""
    for line in overview_lines(client, command):
        say(line)
    return SettingsError(reason)


def final_runs_best_first(client: "Client", *conditions: str) -> Iterator[Any]:
    """Finished trainings of every experiment that could be promoted, by best_val_accuracy; of equal ones the oldest.

    Whether a run has a model is not looked at.
    """
    searches = [runs_of_all(client, " and ".join((TRAINED, final, *conditions)), BEST_FIRST) for final in FINAL]
    found = merge(*searches, key=lambda run: (-run.data.metrics["best_val_accuracy"], run.info.start_time))
    return (run for run in found if role_of(run) == "final")


def limit_of(client: "Client", run: Any) -> int | None:
    """How many training images the run was given, if not all of them; 0 where its settings cannot be read."""
    try:
        limit = settings_of(client, run)["limit"]
    except (KeyError, TrackingError):
        return 0  # nobody knows: it is passed over unless it is named
    return None if limit is None else int(limit)
