"""Which version a name means; a name that means none is answered by what there is."""

from typing import TYPE_CHECKING, Any

from imagelab.errors import RegistryError, SettingsError
from imagelab.registry.report import typed
from imagelab.tracking import reason_of

if TYPE_CHECKING:
    from imagelab.tracking import Client

SHOWN = 20  # names in an error


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
        f"(promote registers one: {typed('promote', name)})"
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
