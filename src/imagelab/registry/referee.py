"""Brings two versions and the images together that both may be judged by."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagelab.console import say
from imagelab.data import load_dataset
from imagelab.data.dataset import Dataset, Split, split_validation
from imagelab.errors import DataError, RegistryError
from imagelab.quiet import start_keras
from imagelab.registry.artifacts import fetched, let_it_answer, load_network, megabytes
from imagelab.registry.report import typed
from imagelab.registry.scoring import Comparison, Entrant, compare_entrants, compiled
from imagelab.registry.versions import DIGEST, find_version
from imagelab.tracking import ask

if TYPE_CHECKING:
    from imagelab.tracking import Client

FEW = 200  # images that tell little: one more right is half a point


class Referee:
    """Loads versions from the registry and lets them answer; a version that is compared again is not loaded again."""

    def __init__(self, client: "Client", name: str, dataset: str, data_dir: Path | None) -> None:
        self.client, self.name = client, name
        self.dataset_name, self.data_dir = dataset, data_dir
        self.dataset: Dataset | None = None
        self.entrants: dict[str, Entrant] = {}

    def compare(self, challenger: str, champion: str | None) -> Comparison:
        """Score both on the images that neither has learned from.

        Raises:
            RegistryError: files are missing or damaged, or runs and data do not go together.
        """
        entrants = [self.entrant(challenger)]
        if champion is not None:
            try:
                entrants.append(self.entrant(champion))
            except RegistryError as error:
                raise RegistryError(
                    f"{error}; it is the champion: first {typed('rollback', self.name)} -P to_version=N"
                ) from error
        self.entrants = {entrant.version: entrant for entrant in entrants}
        common = common_images(entrants)
        return compare_entrants(self.data(), entrants, common)

    def entrant(self, version: str) -> Entrant:
        return self.entrants.get(version) or self.load(version)

    def data(self) -> Dataset:
        if self.dataset is None:
            start_keras()  # loaders import Keras
            self.dataset = load_dataset(self.dataset_name, self.data_dir)
        return self.dataset

    def load(self, version: str) -> Entrant:
        uri = f"models:/{self.name}/{version}"
        found = find_version(self.client, self.name, version)
        if found is None or not found.run_id:
            raise RegistryError(f"{uri}: is not there, or has no run, so nobody knows what it has learned from")
        run = ask(self.client.get_run, found.run_id)
        validation, split = self.validation_of(run, uri)
        with fetched(uri, found.tags.get(DIGEST)) as path:
            let_it_answer(path, uri)
            network = compiled(load_network(path, uri), self.data().image_shape)
            return Entrant(version, split, validation, network, megabytes(path))

    def validation_of(self, run: Any, uri: str) -> tuple[np.ndarray, dict[str, Any]]:
        """The images that the run chose by, and the settings that fix them."""
        dataset, digest = self.data(), run.data.tags.get("dataset_digest")
        if digest != dataset.digest:
            raise RegistryError(
                f"{uri}: run {run.info.run_id} was trained on {self.dataset_name} with digest {digest}; "
                f"this machine has {dataset.digest} ({dataset.source}), so scores would not be comparable"
            )
        try:
            params = run.data.params
            limit = None if params["limit"] == "None" else int(params["limit"])
            split = {"seed": int(params["seed"]), "validation_fraction": float(params["validation_fraction"])}
            split |= {"limit": limit} if limit else {}
            numbers = Split(np.arange(len(dataset.train)), dataset.train.labels)
            return split_validation(numbers, **split)[1].images, split  # type: ignore[arg-type]
        except (KeyError, ValueError, DataError) as error:
            raise RegistryError(
                f"{uri}: its run {run.info.run_id} does not say how it was split ({type(error).__name__}: {error})"
            ) from error


def common_images(entrants: list[Entrant]) -> np.ndarray:
    """Numbers of the images that every entrant has chosen by."""
    common = entrants[0].validation
    for other in entrants[1:]:
        common = np.intersect1d(common, other.validation)
    if len(entrants) > 1 and 0 < len(common) < FEW:
        say(f"only {len(common)} images were kept from both versions: a rough comparison")
    if not len(common):
        both = " and ".join(f"version {entrant.version} with {entrant.split}" for entrant in entrants)
        raise RegistryError(f"no image was kept from both: {both}; train one with the other's settings")
    return common
