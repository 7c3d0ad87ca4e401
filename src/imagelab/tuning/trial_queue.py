"""Who may begin the next trial of a study, and what becomes of trials whose process has died."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from imagelab.tracking import was_here_and_died
from imagelab.tuning.study import Study
from imagelab.tuning.trial_states import enqueued, is_to_be_repeated, retries_of


@dataclass(frozen=True)
class Reservation:
    """The right to begin one trial, for as long as the study's lock is held.

    Attributes:
        release: lets the next process reserve a trial, once this one has begun.
        is_held: whether it still holds; the database may have gone away in between.
    """

    release: Callable[[], None]
    is_held: Callable[[], bool]


@contextmanager
def reserve_trial(study: Study, deadline: float | None) -> Iterator[Reservation | None]:
    """Give a reservation, or None when there is no trial to begin (any more, in time, or yet)."""
    with ExitStack() as held:
        is_held = held.enter_context(study.lock())
        close_dead(study)
        states = [trial.state for trial in study.trials]
        in_time = deadline is None or time.time() < deadline
        if not in_time or len(states) - states.count(TrialState.WAITING) >= study.n_trials:
            yield None
            return
        if TrialState.WAITING not in states:
            study.enqueue_combination()
        yield Reservation(held.close, is_held)


def close_dead(study: Study) -> None:
    """Fail trials that no process works on any more, and enqueue those that may be tried again; needs the lock.

    A process writes its name on a trial before it releases the lock: a running trial without a name is dead.
    """
    optuna_study = study.optuna_study
    for trial in optuna_study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        process = trial.user_attrs.get("process")
        if process is None or was_here_and_died(process):
            close(optuna_study, trial)
    optuna.storages.fail_stale_trials(optuna_study)
    close_doubled(study)
    for trial in study.trials:
        if is_to_be_repeated(trial):
            requeue(optuna_study, trial)


def close_doubled(study: Study) -> None:
    """Fail waiting trials that do not count, since a database that went away has enqueued them twice."""
    numbers = {trial.number for trial in study.trials}
    for trial in study.optuna_study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
        if trial.number not in numbers:
            study.storage.set_trial_state_values(study.storage.id_of(study.name, trial.number), TrialState.FAIL)


def close(study: optuna.Study, trial: FrozenTrial) -> None:
    study.sampler = optuna.samplers.RandomSampler()  # `tell` asks the sampler, which has nothing to learn from this
    study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    kept = {"retry_of": trial.number, "retries": retries_of(trial), **enqueued()}
    if trial.user_attrs.get("recipe"):
        kept["recipe"] = True
    fixed = {key: value for key, value in trial.system_attrs.items() if key == "fixed_params"}
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=kept,
            system_attrs=fixed,
        )
    )
