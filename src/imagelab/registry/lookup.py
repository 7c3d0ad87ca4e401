"""The one lookup: which version an alias or a number means; an error about a missing one says what there is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow.entities.model_registry import ModelVersion

from imagelab.errors import SettingsError
from imagelab.registry.find_version import find, find_version
from imagelab.registry.overview import nothing_to_work_on
from imagelab.tracking import pages
from imagelab.tracking.retry import PATIENCE

if TYPE_CHECKING:
    from imagelab.tracking import Client

SHOWN = 20  # names in an error


@dataclass(frozen=True)
class Lookup:
    """Finds the versions of a registered model.

    Its methods raise SettingsError where there is no such model, alias or version, with what there is, and
    TrackingError where the registry does not answer.

    Attributes:
        command: for which the person is shown what there is instead of a missing model; None: nobody is shown anything.
        patience: seconds to wait for a registry that does not answer.
    """

    client: "Client"
    name: str
    command: str | None = None
    patience: float = PATIENCE

    def aliases(self) -> dict[str, str]:
        """The version that each alias names."""
        found = find(self.client.get_registered_model, self.name, patience=self.patience)
        if found is not None:
            return {alias: str(version) for alias, version in found.aliases.items()}
        reason = f"dataset, model: there is no registered model {self.name}"
        raise nothing_to_work_on(self.client, self.command, reason) if self.command else SettingsError(reason)

    def version_behind(self, alias: str, hint: str = "") -> ModelVersion:
        """The version that an alias names; `hint` says what else can be done where there is no such alias."""
        aliases = self.aliases()
        if alias in aliases:
            return self.version(aliases[alias])
        known = ", ".join(f"{each} (version {version})" for each, version in sorted(aliases.items())[:SHOWN])
        raise SettingsError(f"alias={alias}: {self.name} has no such alias; it has: {known or 'none'}{hint}")

    def version(self, number: str, setting: str = "version") -> ModelVersion:
        """The version with this number, which the user gave as `setting`."""
        if (found := find_version(self.client, self.name, number, self.patience)) is not None:
            return found
        self.aliases()  # says so if there is no such model
        others = pages(self.client.search_model_versions, filter_string=f"name = '{self.name}'")
        known = ", ".join(str(each) for each in sorted(int(version.version) for version in others)[-SHOWN:])
        raise SettingsError(f"{setting}={number}: {self.name} has no such version; it has: {known or 'none'}")
