"""Which runs are compared: found by filters in the store, grouped by configuration, the best ones kept.

Everything is read from tags and metrics that the search returns; an artifact is downloaded only of a run that is older
than the tag `settings`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from imagelab.comparison.training import Configuration, LeftOut, Training, training_of
from imagelab.errors import SettingsError, TrackingError
from imagelab.progress import Display
from imagelab.settings import SelectionSettings, deciding
from imagelab.tracking import pages, request, runs_of_all, settings_of
from imagelab.tracking.roles import FINAL, existing_run, role_of

if TYPE_CHECKING:
    from imagelab.tracking import Client


@dataclass(frozen=True)
class Selection:
    """What is compared, and what is not.

    Attributes:
        configurations: of each data set by their mean validation accuracy, the best first.
        left_out: runs that could not be compared.
        not_shown: how many configurations have a lower validation accuracy than those kept of their (data set, model).
    """

    configurations: list[Configuration]
    left_out: list[LeftOut]
    not_shown: int = 0

    @property
    def runs(self) -> int:
        return sum(len(configuration.trainings) for configuration in self.configurations)


def select(client: "Client", settings: SelectionSettings) -> Selection:
    """Find and group the runs, and keep the best configurations.

    Raises:
        SettingsError: there is nothing to compare; says what was left out.
    """
    found = [why_not(settings, run) or training_of(with_settings(client, run)) for run in find_runs(client, settings)]
    left_out = [run for run in found if isinstance(run, LeftOut)]
    trainings, other_data = of_one_data_set([run for run in found if isinstance(run, Training)])
    configurations, repeated = group(trainings)
    kept, limited, not_shown = keep_best(configurations, settings.best_of_each)
    left_out += [*other_data, *repeated, *limited]
    if settings.runs and len(kept) == 1:  # what is left to compare are its seeds
        kept = [replace(kept[0], trainings=(training,)) for training in kept[0].trainings]
    if not kept:
        reasons = "; ".join(map(str, left_out[:3])) or "the store has no finished training that the filters find"
        more = f"; and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        raise SettingsError(f"there is nothing to compare: {reasons}{more}")
    return Selection(sorted(kept, key=lambda each: (each.dataset, -each.val_accuracy)), left_out, not_shown)


def find_runs(client: "Client", settings: SelectionSettings) -> Iterator[Any]:
    """The named runs, or those of trainings that the filters find in the store, whatever their state."""
    if settings.runs:
        yield from (existing_run(client, run_id, "runs") for run_id in settings.runs.split(","))
        return
    with Display() as display:
        for number, run in enumerate(search(client, settings), 1):
            if role_of(run) == "final" and {"dataset", "model"} <= run.data.tags.keys():  # else it is none of ours
                yield run
            display.show("reading runs", number, number, "runs", "so far")


def search(client: "Client", settings: SelectionSettings) -> Iterator[Any]:
    """One search for each rule of what is final, data set and model: MLflow's filters have no OR."""
    names = [f"tags.dataset = {quoted(name)}" for name in (settings.dataset or "").split(",") if name]
    models = [f"tags.model = {quoted(name)}" for name in (settings.model or "").split(",") if name]
    experiment = experiment_named(client, settings.experiment) if settings.experiment else None
    for parts in product(FINAL, names or [""], models or [""]):
        query = " and ".join(filter(None, (*parts, *conditions(settings))))
        if experiment:
            yield from pages(client.search_runs, experiment_ids=[experiment], filter_string=query)
        else:
            yield from runs_of_all(client, query)


def with_settings(client: "Client", run: Any) -> Any:
    """The run; a finished one that is older than the tag `settings` gets it from its `settings.json`."""
    if "settings" not in run.data.tags and run.info.status == "FINISHED":
        with suppress(TrackingError):  # it is left out as one without settings
            if decisive := deciding(settings_of(client, run)):
                run.data.tags["settings"] = json.dumps(decisive)
    return run


def conditions(settings: SelectionSettings) -> Iterator[str]:
    if settings.study:
        yield f"tags.study = {quoted(settings.study)}"
    if settings.tag:
        name, _, value = settings.tag.partition("=")
        yield f"tags.`{name}` = {quoted(value)}"
    if settings.parent:
        yield f"tags.`mlflow.parentRunId` = '{settings.parent}'"


def quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


def experiment_named(client: "Client", name: str) -> str:
    found = request(client.get_experiment_by_name, name)
    if found is None:
        known = ", ".join(each.name for each in pages(client.search_experiments))
        raise SettingsError(f"experiment={name}: the tracking store has no such experiment; it has: {known}")
    return str(found.experiment_id)


def why_not(settings: SelectionSettings, run: Any) -> LeftOut | None:
    """Why a named run is none to be compared: it is no training, or another filter does not fit it."""
    if not settings.runs:
        return None
    tags, info, study = run.data.tags, run.info, settings.study
    name, _, value = (settings.tag or "").partition("=")
    reasons = {f"is no training but has the role {role_of(run)}": role_of(run) != "final"}
    for key, wanted in (("dataset", settings.dataset), ("model", settings.model)):
        reasons[f"is one with {key}={tags.get(key)}"] = bool(wanted) and tags.get(key) not in str(wanted).split(",")
    reasons[f"is none of study {study}"] = bool(study) and tags.get("study") != study
    reasons[f"does not have the tag {settings.tag}"] = bool(name) and tags.get(name) != value
    is_below = tags.get("mlflow.parentRunId") == settings.parent
    reasons[f"is not below run {settings.parent}"] = bool(settings.parent) and not is_below
    found = next((reason for reason, holds in reasons.items() if holds), None)
    return LeftOut(info.run_id, info.run_name or "", found) if found else None


def of_one_data_set(trainings: list[Training]) -> tuple[list[Training], list[LeftOut]]:
    """Under each name of a data set, those with the digest that most have; the others saw other images."""
    digests: dict[str, Counter[str]] = {}
    for training in sorted(trainings, key=lambda each: -each.began):
        digests.setdefault(training.settings["dataset"], Counter())[training.digest] += 1
    usual = {name: counts.most_common(1)[0][0] for name, counts in digests.items()}
    kept = [each for each in trainings if each.digest == usual[each.settings["dataset"]]]
    others = [
        LeftOut(
            each.run_id,
            each.name,
            f"its data set {each.settings['dataset']} is another one: digest {each.digest[:12] or 'unknown'}, "
            f"that of the others is {usual[each.settings['dataset']][:12] or 'unknown'}",
        )
        for each in trainings
        if each.digest != usual[each.settings["dataset"]]
    ]
    return kept, others


def group(trainings: Iterable[Training]) -> tuple[list[Configuration], list[LeftOut]]:
    """Replicates together; of several trainings with the same seed the newest, for they are no independent ones."""
    groups: dict[str, dict[int, Training]] = {}
    repeated = []
    for training in sorted(trainings, key=lambda each: -each.began):
        by_seed = groups.setdefault(training.key, {})
        newest = by_seed.setdefault(training.seed, training)
        if newest is not training:
            reason = f"run {newest.run_id} has the same settings and seed and is newer"
            repeated.append(LeftOut(training.run_id, training.name, reason))
    return [Configuration(tuple(seeds[seed] for seed in sorted(seeds))) for seeds in groups.values()], repeated


def keep_best(configurations: list[Configuration], best: int | None) -> tuple[list[Configuration], list[LeftOut], int]:
    """So many of each (data set, model), by mean validation accuracy; of equal ones those with more seeds.

    A configuration with `limit` is passed over where there is one of all training images.
    """
    if best is None:
        return configurations, [], 0
    places: dict[tuple[str, str], list[Configuration]] = {}
    for each in configurations:
        places.setdefault((each.dataset, each.model), []).append(each)
    kept, limited, not_shown = [], [], 0
    for found in places.values():
        whole = [each for each in found if each.settings["limit"] is None]
        ranked = sorted(whole or found, key=lambda each: (-each.val_accuracy, -len(each.trainings)))
        kept += ranked[:best]
        not_shown += len(ranked[best:])
        limited += [
            training for each in found if whole and each.settings["limit"] is not None for training in each.trainings
        ]
    reason = "was trained on {} images only, and others on all; name it, or give all=true, to compare it"
    out = [LeftOut(each.run_id, each.name, reason.format(each.settings["limit"])) for each in limited]
    return kept, out, not_shown
