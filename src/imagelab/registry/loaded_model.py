"""The one loader: a logged or registered model in memory, compiled once, for all who let it answer.

The model is what `served_model.py` made of it when it was logged: that file is stored with each model, so a model
logged by an older imagelab is loaded by its own code.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
from mlflow.entities.model_registry import ModelVersion

from imagelab.errors import RegistryError
from imagelab.keras_startup import start_keras
from imagelab.registry.model_files import fetched_version, megabytes, uri_of
from imagelab.tracking import reason_of

# MLflow recommends other environments. TensorFlow takes a network loaded for the first time for one traced again.
CHATTY = ("mlflow.pyfunc", "mlflow.utils.requirements_utils", "tensorflow")


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, which was tried on a black image already.

    Attributes:
        uri: how it is named in messages.
        pyfunc: what `mlflow.pyfunc.load_model` has made of it.
        served: the model in it, see served_model.py.
        size_mb: of its files.
    """

    uri: str
    pyfunc: Any
    served: Any
    size_mb: float

    @property
    def network(self) -> Any:
        """The Keras network: raw pixels in, probabilities out."""
        return self.served.network

    @property
    def blank(self) -> np.ndarray:
        """A black image, uint8 (1, height, width, channels), to see whether the model answers."""
        return np.zeros((1, *self.served.image_shape), np.uint8)

    def compute(self, images: np.ndarray) -> np.ndarray:
        """The compiled network: uint8 (n, height, width, channels) to probabilities (n, classes)."""
        return np.asarray(self.served.compute(images))


def load_version(version: ModelVersion) -> LoadedModel:
    """Load a version of a registered model; raises as `load_model`, and where its files are missing or damaged."""
    with fetched_version(version) as path:
        return load_model(path, uri_of(version))


def load_model(path: Path, uri: str) -> LoadedModel:
    """Load the files that `fetched` has checked, and let the model answer as it would a request.

    Raises:
        RegistryError: it cannot be loaded, does not answer, or is not what `train` logs.
    """
    start_keras()
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        pyfunc = mlflow.pyfunc.load_model(str(path))
    except Exception as error:
        raise RegistryError(f"{uri}: cannot be loaded ({reason_of(error)})") from error
    try:
        model = LoadedModel(uri, pyfunc, pyfunc.unwrap_python_model(), megabytes(path))
        blank = model.blank
    except Exception as error:
        raise RegistryError(
            f"{uri}: answers with no labels, as an image classifier that train has logged does; train it again"
        ) from error
    try:
        model.pyfunc.predict(blank)
        probabilities = model.compute(blank)
    except Exception as error:
        raise RegistryError(f"{uri}: does not answer ({reason_of(error)})") from error
    if not are_probabilities(probabilities):
        raise RegistryError(f"{uri}: returned NaN or infinite probabilities; it is damaged, or has diverged")
    return model


def are_probabilities(rows: np.ndarray) -> bool:
    """Whether each row of (n, classes) sums to one, which NaN and infinity do not."""
    return bool(np.isclose(rows.sum(axis=1), 1, atol=1e-3).all())
