"""What a run is that somebody has named or a search has found: its role, and its state."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from imagelab.errors import SettingsError
from imagelab.tracking.retry import request_or_none

if TYPE_CHECKING:
    from mlflow import MlflowClient

Role = Literal[
    "final",
    "trial",
    "fold",
    "parent",
    "evaluation",
    "comparison",
    "explanation",
    "learning_rate_search",
    "prediction",
    "promotion",
    "rollback",
    "history",
]
# Searches that find every final run; of what they find, `role_of` decides. (MLflow's filters have no OR.)
FINAL = ("tags.role = 'final'", "tags.role IS NULL and tags.trial_number IS NULL")
PHASES_OF_BEFORE: dict[str, Role] = {  # of runs of before that are no training
    "study": "parent",
    "promotion": "promotion",
    "rollback": "rollback",
    "history": "history",
    "prediction": "prediction",
    "evaluation": "evaluation",
}
# What runs are whose network cannot be promoted.
OTHER_ROLES: dict[Role, str] = {
    "trial": "a trial of a study, which keeps no model; train its settings",
    "fold": "a fold of a cross-validation, which has learned from a part of the images only; train its settings on all",
    "parent": "the parent of other runs; name one of those",
}


def role_of(run: Any) -> Role:
    """What a run is."""
    return role_by(run.data.tags)


def role_by(tags: Mapping[str, str]) -> Role:
    """What a run with these tags is; a run of before, without the tag `role`, says so by other tags."""
    if "role" in tags:
        return cast(Role, tags["role"])
    return "trial" if "trial_number" in tags else PHASES_OF_BEFORE.get(tags.get("phase", ""), "final")


def state_of(run: Any) -> str:
    """FINISHED, FAILED, KILLED, RUNNING or deleted."""
    return str(run.info.status) if run.info.lifecycle_stage == "active" else "deleted"


def existing_run(client: "MlflowClient", run_id: str, setting: str = "run_id") -> Any:
    """The run that the user has named by a setting."""
    run = request_or_none(client.get_run, run_id)
    if run is None:
        raise SettingsError(f"{setting}={run_id}: the tracking store has no such run")
    return run
