"""The network that a command works on: named by its run, as a version of a registered model, or as a logged model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry import ModelVersion

from imagelab.errors import SettingsError, TrackingError
from imagelab.registry.loaded_model import LoadedModel, load_model, load_version
from imagelab.registry.lookup import Lookup
from imagelab.registry.model_files import fetched
from imagelab.settings import NamedNetworkSettings
from imagelab.tracking import is_missing, model_of, request, use_tracking_store
from imagelab.tracking.roles import OTHER_ROLES, existing_run, role_of, state_of

if TYPE_CHECKING:
    from imagelab.tracking import Client

MODELS, RUNS = "models:/", "runs:/"


@dataclass(frozen=True)
class NamedModel:
    """A logged model and the run that has trained it.

    Attributes:
        model_id: m-...
        run: as MLflow has it, with the tags `dataset` and `model`.
        version: of a registered model, where it was named so: its files must be those that were registered.
    """

    model_id: str
    run: Any
    version: ModelVersion | None = None

    @property
    def uri(self) -> str:
        return f"{MODELS}{self.model_id}"

    @property
    def dataset(self) -> str:
        return str(self.run.data.tags["dataset"])

    @property
    def architecture(self) -> str:
        return str(self.run.data.tags["model"])

    def tags(self, operation: str, digest: str) -> dict[str, str]:
        """By which the run of what is done with it is found; `operation` is what happens to it, such as "evaluated"."""
        return {
            "dataset": self.dataset,
            "model": self.architecture,
            f"{operation}_model": self.model_id,
            f"{operation}_run": self.run.info.run_id,
            "dataset_digest": digest,
        }

    def load(self) -> LoadedModel:
        """The network in memory; raises a RegistryError where its files are missing or damaged."""
        if self.version:
            return load_version(self.version)
        with fetched(self.uri) as path:
            return load_model(path, self.uri)


def refuse_what_is_not_there(settings: NamedNetworkSettings) -> None:
    """Look the network up before anything slow is imported."""
    find_named_model(use_tracking_store(), settings.run_id, settings.model_uri)


def find_named_model(client: "Client", run_id: str | None, model_uri: str | None) -> NamedModel:
    """The network that one of the two names.

    Args:
        run_id: of a run that has logged it.
        model_uri: models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-MODEL_ID or runs:/RUN_ID/model.

    Raises:
        SettingsError: there is no such thing, or it is no image classifier that `train` has logged.
    """
    if run_id is not None:
        found = of_run(client, run_id)
        setting = f"run_id={run_id}"
    else:
        assert model_uri is not None
        setting = f"model_uri={model_uri}"
        try:
            found = of_uri(client, model_uri)
        except SettingsError as error:
            reason = str(error)
            for other in ("dataset, model: ", f"run_id={model_uri.removeprefix(RUNS).split('/')[0]}: "):
                reason = reason.removeprefix(other)  # the setting by which other commands name it
            raise SettingsError(f"{setting}: {reason}") from error
    if not {"dataset", "model"} <= set(found.run.data.tags):
        raise SettingsError(f"{setting}: is no image classifier that train has logged")
    return found


def of_run(client: "Client", run_id: str) -> NamedModel:
    run = existing_run(client, run_id)
    if (model_id := model_of(client, run)) is None:
        role = role_of(run)
        other = OTHER_ROLES.get(role, f"of the role {role} and has no model; name the run of a training")
        raise SettingsError(f"run_id={run_id}: {'has no model' if role == 'final' else f'is {other}'}")
    if (state := state_of(run)) == "deleted":
        raise SettingsError(f"run_id={run_id}: is {state}; restore it: mlflow runs restore --run-id {run_id}")
    return NamedModel(model_id, run)


def of_uri(client: "Client", uri: str) -> NamedModel:
    if uri.startswith(RUNS):
        return of_run(client, uri.removeprefix(RUNS).split("/", 1)[0])
    name = uri.removeprefix(MODELS)
    if "@" in name:
        registered, _, alias = name.partition("@")
        return of_version(client, Lookup(client, registered).version_behind(alias))
    if "/" in name:
        registered, _, number = name.partition("/")
        return of_version(client, Lookup(client, registered).version(number))
    return of_model_id(client, name)


def of_version(client: "Client", version: ModelVersion) -> NamedModel:
    if not version.run_id:
        raise SettingsError("has no run, so nobody knows what it has learned from")
    run = existing_run(client, version.run_id)
    model_id = version.model_id or model_of(client, run)
    if model_id is None:
        raise SettingsError(f"run {version.run_id} has no model")
    return NamedModel(str(model_id), run, version)


def of_model_id(client: "Client", model_id: str) -> NamedModel:
    try:
        model = request(client.get_logged_model, model_id)
    except TrackingError as error:
        if is_missing(error):
            raise SettingsError("the tracking store has no such model") from error
        raise
    if not model.source_run_id:
        raise SettingsError("has no run, so nobody knows what it has learned from")
    return NamedModel(model_id, existing_run(client, str(model.source_run_id)))
