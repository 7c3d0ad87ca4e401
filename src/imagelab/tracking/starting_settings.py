"""Settings that begin with those of another run or of a file, and the run that `mlflow run` has opened for others."""

import os
from typing import TYPE_CHECKING, Any, TypeVar

from imagelab.errors import SettingsError
from imagelab.models import BACKBONES, ENSEMBLE
from imagelab.settings import ExperimentSettings, Kind, TrainSettings, names_of_kind, of_record
from imagelab.settings.starting_point import over, over_file, typed_of
from imagelab.tracking.project_run import exchange_project_run
from imagelab.tracking.retry import request
from imagelab.tracking.roles import Role, existing_run, role_of
from imagelab.tracking.store import use_tracking_store
from imagelab.tracking.stored_settings import settings_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

Settings = TypeVar("Settings", bound=ExperimentSettings)
TRAININGS: tuple[Role, ...] = ("final", "trial", "fold")


def over_what_is_named(settings: Settings) -> Settings:
    """What was typed, over the settings of the run or of the file that is named.

    Raises:
        SettingsError: there is no such run or file, or it has wrong settings.
        TrackingError: the store does not answer.
    """
    client = use_tracking_store()
    complete = (
        over(settings, values_of(client, settings), f"like={settings.like}") if settings.like else over_file(settings)
    )
    if os.environ.get("MLFLOW_RUN_ID") and (complete.dataset, complete.model) != (settings.dataset, settings.model):
        request(exchange_project_run, client)
    return complete


def values_of(client: "MlflowClient", settings: ExperimentSettings) -> dict[str, Any]:
    """The settings of the run that `like` names, as far as the command and the model have them."""
    source = f"like={settings.like}"
    found = settings_of(client, training_named(client, str(settings.like)))
    if not found:
        raise SettingsError(f"{source}: that run has no settings of a training")
    values = {name: value for name, value in of_record(found).items() if value is not None}
    model = typed_of(settings).get("model", values.get("model"))
    without = settings.left_open | (set(TrainSettings.model_fields) - set(type(settings).model_fields))
    without |= set(names_of_kind(ExperimentSettings, Kind.OPERATIONAL))  # an artifact of runs of before has them
    without |= set() if model in BACKBONES else set(names_of_kind(ExperimentSettings, Kind.BACKBONE))
    return {name: value for name, value in values.items() if name not in without}


def training_named(client: "MlflowClient", run_id: str) -> Any:
    """The run of a training that `like` names."""
    run = existing_run(client, run_id, "like")
    if (role := role_of(run)) not in TRAININGS:
        raise SettingsError(f"like={run_id}: that run is no training, but of the role {role}; name one of a training")
    if run.data.tags.get("model") == ENSEMBLE:
        raise SettingsError(f"like={run_id}: that run is an ensemble; name one of the runs that it is made of")
    return run
