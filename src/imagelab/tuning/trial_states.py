"""What counts as a trial of a study, when it is over, and how its run ends."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from optuna.trial import FrozenTrial, Trial, TrialState

RETRIES = 1  # of a trial whose process died


def enqueued() -> dict[str, str]:
    """The attribute of a trial that is to be enqueued: two that share it were meant to be one."""
    return {"enqueued": uuid4().hex}


def was_enqueued(trial: FrozenTrial | Trial) -> bool:
    """Whether a trial had waited before it was begun."""
    return not {"enqueued", "in_line"}.isdisjoint(trial.user_attrs)  # in older studies it is "in_line"


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count towards the total: of one that was tried again only the newest, of doubled ones the first.

    A database that went away may have enqueued a trial twice.
    """
    retried = {trial.user_attrs.get("retry_of") for trial in trials}
    first: dict[Any, int] = {}
    for trial in trials:
        first.setdefault(place_of(trial), trial.number)
    return [
        trial
        for trial in trials
        if trial.number not in retried and not trial.user_attrs.get("void") and first[place_of(trial)] == trial.number
    ]


def place_of(trial: FrozenTrial) -> Any:
    """What only doubled trials share: the trial that they are retries of, or else how they were enqueued."""
    attributes = trial.user_attrs
    if "retry_of" in attributes:
        return "retry of", attributes["retry_of"]
    name = attributes.get("enqueued")
    return name if isinstance(name, str) else trial.number  # older studies have no names


def is_to_be_repeated(trial: FrozenTrial) -> bool:
    """Whether a trial was interrupted, or its process died for the first time; one that failed by itself is over."""
    if trial.state != TrialState.FAIL or "failure" in trial.user_attrs:
        return False
    return retries_of(trial) <= RETRIES


def retries_of(trial: FrozenTrial) -> int:
    """Which retry the next one would be; interruptions are none."""
    return int(trial.user_attrs.get("retries", 0)) + (not trial.user_attrs.get("interrupted"))


def is_over(trial: FrozenTrial) -> bool:
    return trial.state.is_finished() and not is_to_be_repeated(trial)


def ending_of(trial: FrozenTrial) -> tuple[str, dict[str, str]]:
    """How the run of a finished trial ends: its status and tags."""
    if trial.user_attrs.get("interrupted"):
        return "KILLED", {"trial_state": "interrupted"}
    if trial.state == TrialState.FAIL:
        return "FAILED", {"trial_state": "failed", "failure": trial.user_attrs.get("failure", "its process ended")}
    if trial.state == TrialState.PRUNED:
        return "KILLED", {"trial_state": "pruned"}
    return "FINISHED", {"trial_state": "complete"}
