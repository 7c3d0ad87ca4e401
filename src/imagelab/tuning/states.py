"""What counts as a trial of a study, when it is over, and how its run ends."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

RETRIES = 1  # of a trial whose process died


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count towards the total: of one that was tried again, only the newest."""
    stands_for: dict[int, int] = {}  # the first that took a trial's place; a database that went away may leave two
    for trial in trials:
        stands_for.setdefault(trial.user_attrs.get("retry_of", ~trial.number), trial.number)
    return [
        trial
        for trial in trials
        if trial.number not in stands_for
        and not trial.user_attrs.get("void")
        and stands_for[trial.user_attrs.get("retry_of", ~trial.number)] == trial.number
    ]


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
