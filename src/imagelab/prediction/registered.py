"""Which version of the registered model answers: looked up once, and kept to the end."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagelab.errors import RegistryError, SettingsError
from imagelab.tracking import reason_of

if TYPE_CHECKING:
    from imagelab.tracking import Client

SHOWN = 20  # names in an error


@dataclass(frozen=True)
class Registered:
    """A version of a registered model, and what can be known of it without loading the network.

    Attributes:
        can_report: whether it can tell of images that it cannot use, as Spark needs it.
    """

    name: str
    version: str
    model_id: str
    run_id: str
    classes: int
    has_superclass: bool
    can_report: bool

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"

    @property
    def title(self) -> str:
        return f"{self.name} version {self.version}"


def version_behind(client: "Client", name: str, alias: str) -> str:
    """The version that an alias names.

    Raises:
        SettingsError: there is no such model or alias; says what there is.
    """
    aliases = aliases_of(client, name)
    if alias in aliases:
        return str(aliases[alias])
    known = ", ".join(f"{each} (version {version})" for each, version in sorted(aliases.items())[:SHOWN])
    raise SettingsError(f"alias={alias}: {name} has no such alias; it has: {known or 'none'}; or name a version")


def aliases_of(client: "Client", name: str) -> dict[str, Any]:
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_registered_model(name).aliases)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise RegistryError(f"the model registry does not answer ({reason_of(error)})") from error
    names = ", ".join(model.name for model in client.search_registered_models(max_results=SHOWN))
    raise SettingsError(
        f"dataset, model: there is no registered model {name}; there are: {names or 'none'} "
        "(promote registers one: mlflow run . -e promote --env-manager local)"
    )


def describe(client: "Client", name: str, version: str) -> Registered:
    """What there is to know of a version.

    Raises:
        SettingsError: there is no such version, or it is of another kind.
        RegistryError: its files are not to be had.
    """
    found = version_of(client, name, version)
    info = info_of(name, version)
    metadata = info.metadata or {}
    if "class_names" not in metadata or info.signature is None:
        raise SettingsError(f"version={version}: this version of {name} is no image classifier that train has logged")
    outputs, params = info.signature.outputs, info.signature.params
    return Registered(
        name,
        version,
        str(found.model_id or info.model_id or ""),
        str(found.run_id or info.run_id or ""),
        classes=len(metadata["class_names"]),
        has_superclass="superclass" in outputs.input_names(),
        can_report=any(param.name == "on_error" for param in params or ()),
    )


def version_of(client: "Client", name: str, version: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise RegistryError(f"the model registry does not answer ({reason_of(error)})") from error
    aliases_of(client, name)  # says so if there is no such model
    versions = sorted(int(each.version) for each in client.search_model_versions(f"name = '{name}'"))
    known = ", ".join(map(str, versions[-SHOWN:]))
    raise SettingsError(f"version={version}: {name} has no such version; it has: {known or 'none'}")


def info_of(name: str, version: str) -> Any:
    from mlflow.models import get_model_info

    try:
        return get_model_info(f"models:/{name}/{version}")
    except Exception as error:
        raise RegistryError(f"version {version} of {name} cannot be read ({reason_of(error)})") from error
