"""Pretrained weights of a backbone: Keras's own download, or a file; checked to fit, and known by their digest."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import keras

from imagelab.data.cache import weights_folder
from imagelab.data.dataset import sha256_of
from imagelab.errors import SettingsError, WeightsError


def build_with_imagenet_weights(application: Callable[..., keras.Model], **arguments: object) -> keras.Model:
    """Build an application with Keras's ImageNet weights: downloaded once into Keras's cache, hash-checked.

    Raises:
        WeightsError: they are neither cached nor to be had.
    """
    try:
        return application(weights="imagenet", **arguments)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        files = ", ".join(str(path) for path in sorted(weights_folder().glob("*.weights.h5")))
        raise WeightsError(
            f"weights=imagenet: Keras's weights could not be had ({lines[0]}); give a file with weights=PATH"
            f"{f' (here are: {files})' if files else ''}, or train from scratch with weights=none"
        ) from error


def load_weights_file(backbone: keras.Model, path: Path) -> None:
    """Load a `.weights.h5` or `.keras` file of the same backbone.

    Raises:
        SettingsError: the file is missing, damaged, or of another network; says which layer and shapes differ.
    """
    if not path.is_file():
        raise SettingsError(f"weights={path}: there is no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of its own file format
            backbone.load_weights(path)
    except Exception as error:
        raise SettingsError(f"weights={path}: not the weights of {backbone.name}: {difference(str(error))}") from error


def difference(message: str) -> str:
    """The layer and the shapes that Keras's message names, in one line."""
    layer = re.search(r"for object <\w+ name=([^,>]+)", message)
    shapes = re.search(r"variable\.shape=(\([^)]*\)), Received: value\.shape=(\([^)]*\))", message)
    counts = re.search(r"expected (\d+) variables, but received (\d+)", message)
    others = re.search(r"A total of (\d+) objects", message)
    if not layer or not (shapes or counts):
        return message.strip().splitlines()[0] if message.strip() else "it cannot be read"
    if shapes:
        said = f"layer {layer[1]} has shape {shapes[1]}, in the file {shapes[2]}"
    else:
        assert counts
        said = f"layer {layer[1]} has {counts[1]} variables, in the file {counts[2]}"
    return f"{said} ({others[1]} layers differ)" if others else said


def weights_digest(backbone: keras.Model) -> str:
    """SHA-256 over all weights in the network's order, whatever file they came from."""
    return sha256_of(*(weight.numpy() for weight in backbone.weights))
