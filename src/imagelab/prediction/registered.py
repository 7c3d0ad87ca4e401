"""What is known of the version that answers, before its network is loaded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagelab.errors import RegistryError, SettingsError
from imagelab.registry.lookup import version_of
from imagelab.registry.versions import DIGEST
from imagelab.tracking import reason_of

if TYPE_CHECKING:
    from imagelab.tracking import Client


@dataclass(frozen=True)
class Registered:
    """A version of a registered model, and what can be known of it without loading the network.

    Attributes:
        digest: of its files, as they were registered.
        can_report: whether it can tell of images that it cannot use, as Spark needs it.
    """

    name: str
    version: str
    model_id: str
    run_id: str
    digest: str | None
    classes: int
    has_superclass: bool
    can_report: bool

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"

    @property
    def title(self) -> str:
        return f"{self.name} version {self.version}"


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
        found.tags.get(DIGEST),
        classes=len(metadata["class_names"]),
        has_superclass="superclass" in outputs.input_names(),
        can_report=any(param.name == "on_error" for param in params or ()),
    )


def info_of(name: str, version: str) -> Any:
    from mlflow.models import get_model_info

    try:
        return get_model_info(f"models:/{name}/{version}")
    except Exception as error:
        raise RegistryError(f"version {version} of {name} cannot be read ({reason_of(error)})") from error
