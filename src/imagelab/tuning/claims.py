"""Who may begin the next trial of a study, and what becomes of trials whose process has died."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from imagelab.tracking import was_here_and_died
from imagelab.tuning.states import counted, is_to_be_repeated, retries_of
from imagelab.tuning.study import Session


@dataclass(frozen=True)
class Claim:
    """The right to begin one trial, for as long as the study's lock is held.

    Attributes:
        release: lets the next process claim a trial, once this one has begun.
        is_held: whether it still holds; the database may have gone away in between.
    """

    release: Callable[[], None]
    is_held: Callable[[], bool]


@contextmanager
def claimed(session: Session, deadline: float | None) -> Iterator[Claim | None]:
    """Give a claim, or None when there is no trial to begin (any more, in time, or yet)."""
    with ExitStack() as held:
        is_held = held.enter_context(session.lock())
        close_dead(session)
        states = [trial.state for trial in session.trials]
        in_time = deadline is None or time.time() < deadline
        if not in_time or len(states) - states.count(TrialState.WAITING) >= session.n_trials:
            yield None
            return
        if TrialState.WAITING not in states:
            session.line_up_combination()
        yield Claim(held.close, is_held)


def close_dead(session: Session) -> None:
    """Fail trials that nobody works on any more, and put those that may be tried again in line; needs the lock.

    A trial says whose it is before the lock is released: one that is under way and nobody's is dead.
    """
    study = session.study
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        owner = trial.user_attrs.get("process")
        if owner is None or was_here_and_died(owner):
            close(study, trial)
    optuna.storages.fail_stale_trials(study)
    for trial in counted(study.get_trials(deepcopy=False)):
        if is_to_be_repeated(trial):
            line_up_again(study, trial)


def close(study: optuna.Study, trial: FrozenTrial) -> None:
    study.sampler = optuna.samplers.RandomSampler()  # telling asks the sampler, which has nothing to learn from this
    study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def line_up_again(study: optuna.Study, trial: FrozenTrial) -> None:
    kept = {"retry_of": trial.number, "retries": retries_of(trial), "in_line": True}
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
