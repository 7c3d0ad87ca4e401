"""Who may begin the next trial of a study, and what becomes of trials whose process has died."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from imagelab.tracking import was_here_and_died
from imagelab.tuning.study import Session, counted

RETRIES = 1  # of a trial whose process died


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
        trials = session.trials
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        in_time = deadline is None or time.time() < deadline
        free = in_time and (waiting or len(trials) < session.n_trials)
        yield Claim(held.close, is_held) if free else None


def close_dead(session: Session) -> None:
    """Fail trials that nobody works on any more, and put those that may be tried again in line; needs the lock."""
    study, grace = session.study, session.settings.grace_period
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        owner = trial.user_attrs.get("process")
        assert trial.datetime_start is not None
        unowned = owner is None and time.time() - trial.datetime_start.timestamp() > grace
        if unowned or (owner and was_here_and_died(owner)):
            study.tell(trial.number, state=TrialState.FAIL)
    optuna.storages.fail_stale_trials(study)
    try_again(study)


def try_again(study: optuna.Study) -> None:
    """Put interrupted trials in line again, and once those whose process died; those that failed by themselves not."""
    trials = study.get_trials(deepcopy=False)
    for trial in counted(trials):
        attributes = trial.user_attrs
        retries = attributes.get("retries", 0) + (not attributes.get("interrupted"))
        if trial.state != TrialState.FAIL or "failure" in attributes or retries > RETRIES:
            continue
        kept = {"retry_of": trial.number, "retries": retries}
        if attributes.get("recipe"):
            kept["recipe"] = True
        system = {key: value for key, value in trial.system_attrs.items() if key in ("fixed_params", "grid_id")}
        study.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=kept,
                system_attrs=system,
            )
        )
