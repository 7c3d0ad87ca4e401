"""The version that predicts, and what can be known of it before its network is loaded."""

from dataclasses import dataclass
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.models import get_model_info

from imagelab.errors import RegistryError, SettingsError
from imagelab.registry.model_files import uri_of
from imagelab.tracking import reason_of


@dataclass(frozen=True)
class VersionInfo:
    """A version of a registered model.

    Attributes:
        registered: as the registry has it.
        has_superclass: whether it names the superclass, too.
        can_report: whether it can report images that it cannot use instead of refusing all, as Spark needs it.
    """

    registered: ModelVersion
    model_id: str
    run_id: str
    classes: int
    has_superclass: bool
    can_report: bool

    @property
    def title(self) -> str:
        return f"{self.registered.name} version {self.registered.version}"


def describe(version: ModelVersion) -> VersionInfo:
    """What there is to know of a version.

    Raises:
        SettingsError: it is of another kind.
        RegistryError: its files cannot be read.
    """
    info = read_info(version)
    metadata = info.metadata or {}
    if "class_names" not in metadata or info.signature is None:
        raise SettingsError(
            f"version={version.version}: this version of {version.name} is no image classifier that train has logged"
        )
    outputs, params = info.signature.outputs, info.signature.params
    return VersionInfo(
        version,
        str(version.model_id or info.model_id or ""),
        str(version.run_id or info.run_id or ""),
        classes=len(metadata["class_names"]),
        has_superclass="superclass" in outputs.input_names(),
        can_report=any(param.name == "on_error" for param in params or ()),
    )


def read_info(version: ModelVersion) -> Any:
    try:
        return get_model_info(uri_of(version))
    except Exception as error:
        raise RegistryError(
            f"version {version.version} of {version.name} cannot be read ({reason_of(error)})"
        ) from error
