"""Brings two versions and the images together that both may be judged by."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagelab.console import say
from imagelab.data import DATASETS, load_dataset
from imagelab.data.dataset import Dataset
from imagelab.data.split import SplitSpec
from imagelab.errors import RegistryError, SettingsError, TrackingError
from imagelab.keras_startup import start_keras
from imagelab.registry.find_version import find_version
from imagelab.registry.loaded_model import load_version
from imagelab.registry.named_model import NamedModel
from imagelab.registry.overview import command_for
from imagelab.registry.version_scores import ScoredVersion, VersionScores, compare_versions
from imagelab.tracking import request, split_of

if TYPE_CHECKING:
    from imagelab.tracking import Client

FEW = 200  # images that tell little: one more right is half a point


class VersionComparison:
    """Loads versions from the registry and lets them answer; a version that is compared again is not loaded again."""

    def __init__(self, client: "Client", name: str, dataset: str, data_dir: Path | None) -> None:
        self.client, self.name = client, name
        self.dataset_name, self.data_dir = dataset, data_dir
        self.dataset: Dataset | None = None
        self.versions: dict[str, ScoredVersion] = {}

    def compare(self, challenger: str, champion: str | None) -> VersionScores:
        """Score both on the images that neither has learned from.

        Raises:
            RegistryError: files are missing or damaged, or runs and data do not go together.
        """
        versions = [self.scored(challenger)]
        if champion is not None:
            try:
                versions.append(self.scored(champion))
            except RegistryError as error:
                raise RegistryError(
                    f"{error}; it is the champion: first {command_for('rollback', self.name)} -P to_version=N"
                ) from error
        self.versions = {scored.version: scored for scored in versions}
        common = common_images(versions)
        return compare_versions(self.data(), versions, common)

    def scored(self, version: str) -> ScoredVersion:
        return self.versions.get(version) or self.load(version)

    def data(self) -> Dataset:
        if self.dataset is None:
            start_keras()  # loaders import Keras
            self.dataset = load_dataset(self.dataset_name, self.data_dir)
        return self.dataset

    def load(self, version: str) -> ScoredVersion:
        uri = f"models:/{self.name}/{version}"
        found = find_version(self.client, self.name, version)
        if found is None or not found.run_id:
            raise RegistryError(f"{uri}: is not there, or has no run, so nobody knows what it has learned from")
        say(f"loading version {version}, and the images that it was chosen by")
        run = request(self.client.get_run, found.run_id)
        validation, split = self.validation_of(run, uri)
        model = load_version(found)
        return ScoredVersion(version, split, validation, model.compute, model.size_mb)

    def validation_of(self, run: Any, uri: str) -> tuple[np.ndarray, SplitSpec]:
        """Numbers of the images that the run chose by, and the split that fixes them."""
        split = checked_split(self.client, run, self.data(), uri)
        return split.indices(self.data().train.labels)[1], split


def checked_split(client: "Client", run: Any, dataset: Dataset, uri: str) -> SplitSpec:
    """Which images of a data set a run has learned from, and which it has chosen by.

    Args:
        uri: its model, as messages name it.

    Raises:
        RegistryError: the run has learned from other images, or does not say how it has split them.
    """
    digest = run.data.tags.get("dataset_digest")
    if digest != dataset.digest:
        raise RegistryError(
            f"{uri}: run {run.info.run_id} was trained on {dataset.name} with digest {digest}; "
            f"this machine has {dataset.digest} ({dataset.source}), so scores would not be comparable"
        )
    try:
        split = split_of(client, run)
        split.indices(dataset.train.labels)
    except (TrackingError, SettingsError) as error:
        raise RegistryError(f"{uri}: {error}") from error
    return split


def data_of(client: "Client", named: NamedModel, data_dir: Path | None) -> tuple[Dataset, SplitSpec]:
    """The data set of a network, and which of its training images that has learned from; raises as `checked_split`."""
    if named.dataset not in DATASETS:
        raise RegistryError(f"{named.uri}: was trained on {named.dataset}, which is none of {', '.join(DATASETS)}")
    dataset = load_dataset(named.dataset, data_dir)
    return dataset, checked_split(client, named.run, dataset, named.uri)


def common_images(versions: list[ScoredVersion]) -> np.ndarray:
    """Numbers of the images that every version was chosen by."""
    common = versions[0].validation
    for other in versions[1:]:
        common = np.intersect1d(common, other.validation)
    if len(versions) > 1 and 0 < len(common) < FEW:
        say(f"only {len(common)} images were kept from both versions: a rough comparison")
    if not len(common):
        both = " and ".join(f"version {scored.version} with {scored.split}" for scored in versions)
        raise RegistryError(f"no image was kept from both: {both}; train one with the other's settings")
    return common
