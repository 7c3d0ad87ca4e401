"""The frozen half of a network, run over images: by OpenVINO on a processor, by TensorFlow on a GPU.

OpenVINO computes ResNet50's features 1.2 times (float32) to 1.9 times (bfloat16) as fast as TensorFlow on the same
two cores: it folds batch normalisation into the convolutions and keeps their inputs in the layout they like best.
"""

import sys
import tempfile
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from imagelab.data.augmentation import shift
from imagelab.errors import DataError

BATCH = 50  # images; divides a shard

Extract = Callable[[np.ndarray], np.ndarray]


def make_extract(float32_model: keras.Model, network: keras.Model, low_precision: bool) -> Extract:
    """A function from images, uint8 (n, height, width, channels), to features (n, length).

    Args:
        float32_model, network: as `transfer_network` builds it, in float32 and in the number format to compute in:
            OpenVINO takes the first and lowers its precision by itself, TensorFlow takes the second.
        low_precision: compute in bfloat16, and keep float16, which holds more digits; otherwise float32.
    """
    if engine() == "openvino":
        extract = openvino_extract(float32_model, low_precision)
    else:
        extract = tensorflow_extract(network if low_precision else float32_model)
    return lambda images: finite(extract(images).astype(np.float16 if low_precision else np.float32))


def finite(features: np.ndarray) -> np.ndarray:
    """The features, if all of them are numbers.

    Raises:
        DataError: some are not, or are too large for float16.
    """
    if not np.isfinite(features).all():
        raise DataError("the backbone gives features that are no numbers or over 65504; try mixed_precision=float32")
    return features


def engine() -> str:
    """Which library computes features here: part of what they depend on."""
    return "tensorflow" if tf.config.list_physical_devices("GPU") else "openvino"


def openvino_extract(network: keras.Model, low_precision: bool) -> Extract:
    openvino = import_openvino()
    resized = network.get_layer("resize").output
    resize = tf.function(keras.Model(network.input, resized))
    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        save(keras.Model(resized, network.get_layer("features").output), (BATCH, *resized.shape[1:]), folder)
        graph = core.read_model(folder)
        precision = {"INFERENCE_PRECISION_HINT": "bf16" if low_precision else "f32"}
        compiled = core.compile_model(graph, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", **precision})

    def extract(images: np.ndarray) -> np.ndarray:
        padded = np.concatenate([images, np.zeros((-len(images) % BATCH, *images.shape[1:]), np.uint8)])
        features = np.empty((len(padded), *network.get_layer("features").output.shape[1:]), np.float32)

        def keep(request: Any, start: int) -> None:
            features[start : start + BATCH] = request.get_output_tensor().data

        queue = openvino.AsyncInferQueue(compiled)
        queue.set_callback(keep)
        for start in range(0, len(padded), BATCH):
            pixels = resize(tf.cast(padded[start : start + BATCH], tf.float32))
            queue.start_async({0: pixels.numpy()}, start)
        queue.wait_all()
        return features[: len(images)]

    return extract


def import_openvino() -> ModuleType:
    """OpenVINO without its telemetry, for which it would start a process when it is imported, and ask nobody.

    Where that package is missing it does without.
    """
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        sys.modules.pop(name)
        if before:
            sys.modules[name] = before
    return openvino


def save(model: keras.Model, shape: tuple[int, ...], folder: str) -> None:
    """Write a SavedModel for inputs of one shape; Keras's own export takes three times as long."""
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    run = tf.function(lambda inputs: model(inputs, training=False), input_signature=[tf.TensorSpec(shape)])
    tf.saved_model.save(module, folder, signatures=run)


def tensorflow_extract(network: keras.Model) -> Extract:
    extractor = tf.function(keras.Model(network.input, network.get_layer("features").output), jit_compile=True)

    def extract(images: np.ndarray) -> np.ndarray:
        starts = range(0, len(images), BATCH)
        return np.concatenate([extractor(tf.cast(images[s : s + BATCH], tf.float32)).numpy() for s in starts])

    return extract


def augmented(images: np.ndarray, view: int, number: int) -> np.ndarray:
    """A view of the images of shard `number`: 0 plain, odd ones mirrored, from 2 on moved by up to a tenth as well."""
    if view % 2:
        images = images[:, :, ::-1]
    return shift(tf.constant(images), tf.constant([view, number])).numpy() if view >= 2 else images
