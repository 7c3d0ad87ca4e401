"""Small models, loaded once for all tests, and pictures to ask them about."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagelab.serving.served_version import ServedVersion
from tests.conftest import Project, make_project
from tests.serving import grey_levels


@pytest.fixture(scope="session")
def colour_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grey_levels.save(tmp_path_factory.mktemp("colour"), grey_levels.COLOUR)


@pytest.fixture(scope="session")
def colour(colour_path: Path) -> ServedVersion:
    """100 classes in two superclasses, colour pictures of 8 x 8."""
    return grey_levels.load(colour_path)


@pytest.fixture(scope="session")
def grey(tmp_path_factory: pytest.TempPathFactory) -> ServedVersion:
    """Ten classes, grey pictures of 8 x 8."""
    return grey_levels.load(grey_levels.save(tmp_path_factory.mktemp("grey"), grey_levels.GREY, 10))


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Project]:
    """A project whose registry has digits-basic_cnn: version 1 answers `first`, 2 `second`, 3 is damaged, 4 spoilt.

    The champion is version 1; `broken` names version 3. Every module leaves it so.
    """
    folder = tmp_path_factory.mktemp("shop") / "project"
    project = make_project(folder, empty_database)
    for number, word in enumerate(("first", "second", "damaged", "spoilt"), 1):
        version = grey_levels.register(project.client, folder / word, "digits-basic_cnn", word, spoil=word == "spoilt")
        assert version == str(number)
    model_id = project.client.get_model_version("digits-basic_cnn", "3").source.removeprefix("models:/")
    [network] = Path(project.client.get_logged_model(model_id).artifact_location).rglob("model.keras")
    network.write_bytes(b"this is no network")
    project.client.set_registered_model_alias("digits-basic_cnn", "champion", "1")
    project.client.set_registered_model_alias("digits-basic_cnn", "broken", "3")
    yield project
    project.end()
    import mlflow

    mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
