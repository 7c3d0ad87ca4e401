"""A study: made once, and found again by every process that works on its trials."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from imagelab.errors import SettingsError
from imagelab.settings import ExperimentSettings, TuneSettings, validate
from imagelab.signals import uninterrupted
from imagelab.tracking import (
    create_parent,
    database_path,
    join_parent,
    project_folder,
)
from imagelab.tuning.outage import Patience
from imagelab.tuning.samplers import combinations, make_pruner, make_sampler
from imagelab.tuning.search_space import Space, most_epochs, recipe_point
from imagelab.tuning.storage import PatientStorage, open_storage
from imagelab.tuning.study_config import description_of, plan, refuse_another
from imagelab.tuning.study_lock import lock_database
from imagelab.tuning.trial_states import counted, enqueued, is_over

if TYPE_CHECKING:
    from imagelab.tracking import Client


@dataclass(frozen=True)
class Study:
    """A study, as one process sees it.

    Attributes:
        optuna_study: the study in Optuna's form, which is what the database holds.
        base: the recipe, and what all trials have in common.
        n_trials: how many trials the study shall have; at most as many as there are combinations.
    """

    settings: TuneSettings
    url: str
    storage: PatientStorage
    optuna_study: optuna.Study
    space: Space
    base: ExperimentSettings
    n_trials: int

    @property
    def name(self) -> str:
        return self.optuna_study.study_name

    @property
    def run_id(self) -> str:
        """The study's run."""
        return str(self.optuna_study.user_attrs["run_id"])

    @property
    def trials(self) -> list[FrozenTrial]:
        """Every trial that counts: one that was tried again is not among them, since the newer one stands for it."""
        return counted(self.optuna_study.get_trials(deepcopy=False))

    @property
    def finished(self) -> list[FrozenTrial]:
        """Those of `trials` that are over, in the order of their ends."""
        over = [trial for trial in self.trials if is_over(trial)]
        return sorted(over, key=lambda trial: (trial.datetime_complete, trial.number))

    @property
    def is_complete(self) -> bool:
        return len(self.finished) >= self.n_trials

    def lock(self) -> AbstractContextManager[Callable[[], bool]]:
        """Only the process that holds it begins, enqueues or closes trials."""
        return lock_study(self.url, self.settings, self.storage.patience)

    def settings_of(self, trial: FrozenTrial | optuna.Trial) -> ExperimentSettings:
        """What the trial is (or was) trained with, complete."""
        if trial.user_attrs.get("recipe"):
            return self.base
        given = self.settings.of_training().model_dump(exclude_unset=True)
        return validate(ExperimentSettings, {**given, **trial.params}).with_recipe()

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

    def enqueue_combination(self) -> None:
        """With sampler=grid, enqueue the first combination that no trial has; needs the lock."""
        if self.settings.sampler == "grid":
            trials = self.optuna_study.get_trials(deepcopy=False)
            tried = [
                trial.system_attrs.get("fixed_params") or trial.params
                for trial in trials
                if "recipe" not in trial.user_attrs
            ]
            self.optuna_study.enqueue_trial(next(c for c in combinations(self.space) if c not in tried), enqueued())


def storage_url(settings: TuneSettings, tracking_uri: str) -> str:
    """The study database: as given, or beside the tracking database."""
    if settings.storage:
        return settings.storage
    beside = database_path(tracking_uri)
    return f"sqlite:///{(beside.parent if beside else project_folder()) / 'optuna.db'}"


def open_study(settings: TuneSettings, client: "Client", held: ExitStack | None = None) -> Study:
    """Go on with the study, or make it with its run and its first trial, which is the recipe.

    Args:
        held: of whom ends the study's run: until this is closed, no interruption comes once there is a run.

    Raises:
        SettingsError: there is such a study, but it is another one.
        TrackingError: a database does not answer.
    """
    space, base, n_trials = plan(settings)
    url = storage_url(settings, client.tracking_uri)
    patience = Patience(settings.upload_patience)
    storage = open_storage(url, patience, settings.grace_period)
    with lock_study(url, settings, patience):
        study = optuna.create_study(
            study_name=settings.study_name,
            storage=storage,
            directions=settings.directions,
            load_if_exists=True,
            pruner=make_pruner(settings.pruner_name, most_epochs(space, base)),
        )
        refuse_another(study, settings, description_of(settings, space, base), url)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(recipe_point(space, base), user_attrs={"recipe": True, **enqueued()})
        if "run_id" in study.user_attrs:
            join_parent(client, study.user_attrs["run_id"], study.study_name)
        with ExitStack() as here:
            (held or here).enter_context(uninterrupted())
            if "run_id" not in study.user_attrs:
                tags = {"phase": "study", "study": study.study_name}
                study.set_user_attr("run_id", create_parent(client, study.study_name, tags)[0])
    return Study(settings, url, storage, study, space, base, n_trials)


def lock_study(url: str, settings: TuneSettings, patience: Patience) -> AbstractContextManager[Callable[[], bool]]:
    return lock_database(url, f"study {settings.study_name}", patience)
