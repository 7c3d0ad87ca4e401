"""A study: made once, found again by every process that works on it, and claimed trial by trial."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial

from imagelab.errors import SettingsError
from imagelab.settings import TrainSettings, TuneSettings, validate
from imagelab.tracking import (
    create_parent,
    database_path,
    join_parent,
    project_folder,
    without_password,
)
from imagelab.tuning.lock import lock_database
from imagelab.tuning.proposals import combinations, make_pruner, make_sampler
from imagelab.tuning.space import Space, make_space, most_epochs, recipe_point
from imagelab.tuning.states import counted, is_over
from imagelab.tuning.storage import PatientStorage, open_storage

if TYPE_CHECKING:
    from imagelab.tracking import Client

MINE = "imagelab"  # the study's attribute that says what its trials have in common


@dataclass(frozen=True)
class Session:
    """One process's view of a study.

    Attributes:
        base: the recipe, and what all trials have in common.
        n_trials: how many trials the study shall have; at most as many as there are combinations.
    """

    settings: TuneSettings
    url: str
    storage: PatientStorage
    study: optuna.Study
    space: Space
    base: TrainSettings
    n_trials: int

    @property
    def run_id(self) -> str:
        """The study's run."""
        return str(self.study.user_attrs["run_id"])

    @property
    def trials(self) -> list[FrozenTrial]:
        """Every trial that counts: one that was tried again is not among them, since the newer one stands for it."""
        return counted(self.study.get_trials(deepcopy=False))

    @property
    def finished(self) -> list[FrozenTrial]:
        """Those of `trials` that are over, in the order of their ends."""
        over = [trial for trial in self.trials if is_over(trial)]
        return sorted(over, key=lambda trial: (trial.datetime_complete, trial.number))

    @property
    def is_complete(self) -> bool:
        return len(self.finished) >= self.n_trials

    def lock(self) -> AbstractContextManager[Callable[[], bool]]:
        """Only the process that holds it makes, claims or closes trials."""
        return lock_study(self.url, self.settings)

    def settings_of(self, trial: FrozenTrial | optuna.Trial) -> TrainSettings:
        """What the trial is (or was) trained with, complete."""
        if trial.user_attrs.get("recipe"):
            return self.base
        given = self.settings.of_trials().model_dump(exclude_unset=True)
        return validate(TrainSettings, {**given, **trial.params}).with_recipe()

    def searched(self, trial: FrozenTrial | optuna.Trial) -> dict[str, Any]:
        """What a trial was trained with of all that is searched; without what the recipe leaves to the network."""
        try:
            settings = self.settings_of(trial).model_dump(mode="json")
        except SettingsError:  # a combination that does not go together: that trial has failed
            return dict(trial.params)
        return {name: settings[name] for name in self.space if settings[name] is not None}

    def sampler(self) -> optuna.samplers.BaseSampler:
        """A sampler whose chance depends on how many trials there are, so that a resumed study proposes the same."""
        number = len(self.trials)
        [seed] = np.random.SeedSequence([self.settings.seed, number]).generate_state(1)
        return make_sampler(self.settings.sampler, self.space, int(seed))

    def line_up_combination(self) -> None:
        """With sampler=grid, put the first combination in line that no trial has; needs the lock."""
        if self.settings.sampler == "grid":
            trials = self.study.get_trials(deepcopy=False)
            tried = [
                trial.system_attrs.get("fixed_params") or trial.params
                for trial in trials
                if "recipe" not in trial.user_attrs
            ]
            self.study.enqueue_trial(next(c for c in combinations(self.space) if c not in tried), {"in_line": True})


def plan(settings: TuneSettings) -> tuple[Space, TrainSettings, int]:
    """Search space, what all trials have in common, and how many there shall be; asks no database.

    Raises:
        SettingsError: in one line, whatever is wrong with them.
    """
    given = settings.of_trials()
    base = given.with_recipe()
    space = make_space(settings.search, given)
    make_sampler(settings.sampler, space, 0)
    if settings.sampler != "grid":
        return space, base, settings.n_trials
    count = 1 + sum(1 for _ in islice(combinations(space), settings.n_trials))  # the recipe, and each combination
    return space, base, min(settings.n_trials, count)


def storage_url(settings: TuneSettings, tracking_uri: str) -> str:
    """The study database: as given, or beside the tracking database."""
    if settings.storage:
        return settings.storage
    beside = database_path(tracking_uri)
    return f"sqlite:///{(beside.parent if beside else project_folder()) / 'optuna.db'}"


def open_session(settings: TuneSettings, client: "Client") -> Session:
    """Go on with the study, or make it with its run and its first trial, which is the recipe.

    Raises:
        SettingsError: there is such a study, but it is another one.
        TrackingError: a database does not answer.
    """
    space, base, n_trials = plan(settings)
    url = storage_url(settings, client.tracking_uri)
    storage = open_storage(url, settings.upload_patience, settings.grace_period)
    with lock_study(url, settings):
        study = optuna.create_study(
            study_name=settings.study_name,
            storage=storage,
            directions=settings.directions,
            load_if_exists=True,
            pruner=make_pruner(settings.pruner_name, most_epochs(space, base)),
        )
        refuse_another(study, settings, description_of(settings, space, base), url)
        if "run_id" not in study.user_attrs:
            study.set_user_attr("run_id", create_parent(client, study.study_name))
        else:
            join_parent(client, study.user_attrs["run_id"], study.study_name)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(recipe_point(space, base), user_attrs={"recipe": True, "in_line": True})
    return Session(settings, url, storage, study, space, base, n_trials)


def lock_study(url: str, settings: TuneSettings) -> AbstractContextManager[Callable[[], bool]]:
    return lock_database(url, f"study {settings.study_name}", settings.upload_patience)


def description_of(settings: TuneSettings, space: Space, base: TrainSettings) -> dict[str, Any]:
    """All that trials must have in common to be compared."""
    ours = base.model_dump(
        mode="json", exclude={"note", "data_dir", "upload_patience", "resume", "feature_cache_limit"}
    )
    searched = {name: distribution_to_json(distribution) for name, distribution in sorted(space.items())}
    return {"objective": settings.objective, "search": searched, **ours}


def refuse_another(study: optuna.Study, settings: TuneSettings, description: dict[str, Any], url: str) -> None:
    """Accept a study only if it is this one; one that is empty becomes it."""
    other = "name another one by -P study=NAME"
    directions = [direction.name.lower() for direction in study.directions]
    if directions != settings.directions:
        raise SettingsError(
            f"study={study.study_name}: exists in {without_password(url)} to {' and '.join(directions)}, "
            f"while objective={settings.objective} is to {' and '.join(settings.directions)}; {other}"
        )
    known = study.user_attrs.get(MINE)
    if known is None:
        if study.get_trials(deepcopy=False):
            raise SettingsError(
                f"study={study.study_name}: exists in {without_password(url)}, made by another program; {other}"
            )
        study.set_user_attr(MINE, description)
        return
    for name in description.keys() | known.keys():
        if known.get(name) != description.get(name):
            was, now = described(known.get(name)), described(description.get(name))
            raise SettingsError(f"study={study.study_name}: exists with {name}={was}, not {now}; {other}")


def described(value: Any) -> str:
    """A value of the description as one reads it."""
    if not isinstance(value, dict):
        return str(value)
    words = []
    for name, text in value.items():
        attributes = json.loads(text)["attributes"]
        step = [attributes["step"]] if attributes.get("step") not in (None, 1) else []
        ends = attributes.get("choices") or [attributes["low"], attributes["high"], *step]
        log, between = "log:" * bool(attributes.get("log")), "|" if "choices" in attributes else ":"
        words.append(f"{name}={log}{between.join(map(str, ends))}")
    return ", ".join(words)
