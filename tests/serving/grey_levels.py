"""A network whose answer says how bright the upper left quarter of a picture is, so that an answer can be checked."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from imagelab.registry.loaded_model import load_model
from imagelab.serving.dynamic_batching import Batcher
from imagelab.serving.served_version import ServedVersion, VersionName

COLOUR, GREY = (8, 8, 3), (8, 8, 1)


def build(image_shape: tuple[int, int, int], classes: int = 100, steepness: float = 1.0) -> keras.Model:
    """Class k of n is the likeliest where the mean of the corner is k / (n - 1) * 255.

    Each logit is the difference of two numbers of up to 20,000 times `steepness`.
    """
    height, width, channels = image_shape
    corner = np.zeros((height, width, 1))
    corner[: height // 2, : width // 2] = 4 / (height * width)
    mean = keras.initializers.Constant(1 / channels)
    network = keras.Sequential([keras.Input(image_shape), keras.layers.Conv2D(1, 1, kernel_initializer=mean)])
    network.add(keras.layers.Flatten())
    network.add(keras.layers.Dense(classes, activation="softmax"))
    levels = np.arange(classes)
    weights = [2 * corner.reshape(-1, 1) * levels * (classes - 1) / 255, -(levels**2.0)]
    network.layers[-1].set_weights([steepness * weight for weight in weights])
    return network


def content(classes: int = 100, word: str = "level") -> dict[str, Any]:
    """The names that are logged with it; networks of more than ten classes have superclasses."""
    superclasses = ["dark"] * (classes // 2) + ["bright"] * (classes - classes // 2)
    names = [f"{word} {level}" for level in range(classes)]
    return {"class_names": names, "superclass_of": superclasses if classes > 10 else []}


def save(folder: Path, image_shape: tuple[int, int, int], classes: int = 100, steepness: float = 1.0) -> Path:
    """The model in a folder, as the project logs it."""
    from mlflow.models import Model

    from imagelab.reporting import SERVED_MODEL
    from imagelab.tracking.logged_model import requirements, save_model, signature_of

    build(image_shape, classes, steepness).save(folder / "model.keras")
    names = content(classes)
    words: dict[str, Any] = {"signature": signature_of(names), "served_config": names}
    path = folder / "model"
    save_model(
        str(path), folder / "model.keras", SERVED_MODEL, mlflow_model=Model(), pip_requirements=requirements(), **words
    )
    return path


def load(path: Path) -> ServedVersion:
    model = load_model(path, "levels")
    name = VersionName("levels", "3", "champion", None, "m")
    return ServedVersion(name, model, Batcher(model.served.probabilities, int))


def register(client: Any, folder: Path, name: str, word: str, spoil: bool = False) -> str:
    """Log the network, with classes `word 0` to `word 9`, and register it; the number of its version."""
    import mlflow

    from imagelab.reporting import SERVED_MODEL
    from imagelab.tracking.logged_model import log_model

    folder.mkdir()
    network = build(GREY, 10)
    if spoil:
        network.layers[-1].set_weights([weight * np.nan for weight in network.layers[-1].get_weights()])
    network.save(folder / "model.keras")
    np.save(folder / "example.npy", np.zeros((1, *GREY), np.uint8))
    run = client.create_run("0")
    mlflow.set_tracking_uri(client.tracking_uri)
    entry = {"path": "model.keras", "example": "example.npy", "step": 0, **content(10, word)}
    model_id = log_model(run.info.run_id, folder, entry, SERVED_MODEL)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"models:/{model_id}"
    return str(client.create_model_version(name, source, run.info.run_id, model_id=model_id).version)


def level(answer: Any) -> int:
    """The number in the first label of an answer's JSON."""
    return int(json.loads(answer)["predictions"][0]["label"].split()[1])
