"""What a network looked at: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) on its last feature maps."""

import base64
from io import BytesIO

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

SIDE = 224  # pixels of the pictures that are shown
HOT = np.array([255.0, 40.0, 0.0])
TINY = 1e-37  # the smallest probability that float32 tells from 0
OPACITY = 0.65  # of the heat where it is greatest


class Attention:
    """Grad-CAM for one network.

    Attributes:
        below, above: the network in two parts, from pixels to feature maps and from those to probabilities.
        is_possible: whether something is learned before the feature maps; a scaled image tells nothing of a network.
    """

    def __init__(self, network: keras.Model) -> None:
        split = split_sequence if isinstance(network, keras.Sequential) else split_graph
        self.below, self.above = split(network)
        self.is_possible = bool(self.below.weights)

    def heat(self, image: np.ndarray) -> np.ndarray | None:
        """Where the likeliest class comes from, float (map height, map width), 0-1; None where it is not possible.

        Args:
            image: uint8 (height, width, channels).
        """
        if not self.is_possible:
            return None
        maps = keras.tree.flatten(self.below(tf.cast(image[None], tf.float32), training=False))
        seen = next((each for each in reversed(maps) if each.shape[1] * each.shape[2] > 1), None)
        if seen is None:  # the network keeps no places apart
            return None
        with tf.GradientTape() as tape:
            tape.watch(maps)
            probabilities = self.above(maps if len(maps) > 1 else maps[0], training=False)
            logits = tf.math.log(tf.maximum(probabilities, TINY))  # but for a constant, which the next line takes away
            score = tf.reduce_max(logits) - tf.reduce_mean(logits)  # has a slope where the probability is 1.0, too
        importance = tf.reduce_mean(tape.gradient(score, seen), axis=(1, 2), keepdims=True)
        heat = np.maximum(tf.reduce_sum(importance * seen, axis=3)[0].numpy(), 0)
        return heat / heat.max() if heat.max() > 0 else heat


def split_sequence(network: keras.Sequential) -> tuple[keras.Model, keras.Model]:
    """Before and after the first layer that makes vectors of feature maps (n, height, width, channels)."""
    cut = next(index for index, layer in enumerate(network.layers) if len(layer.output.shape) < 4)
    below = keras.Sequential([keras.Input(network.input_shape[1:]), *network.layers[:cut]])
    return below, keras.Sequential([keras.Input(below.output_shape[1:]), *network.layers[cut:]])


def split_graph(network: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The same where several feature maps may be made vectors of; the deepest comes last."""
    maps = []
    for layer in network.layers:
        inputs, outputs = (keras.tree.flatten(getattr(layer, end)) for end in ("input", "output"))
        if inputs and len(inputs[0].shape) == 4 and len(outputs[0].shape) < 4:
            maps.append(inputs[0])
    return keras.Model(network.inputs, maps), keras.Model(maps, network.outputs)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture, uint8 (SIDE, SIDE, 3), with the heat over it in red."""
    coloured = Image.fromarray(image.repeat(3, axis=2) if image.shape[2] == 1 else image)
    shown = np.asarray(coloured.resize((SIDE, SIDE), Image.Resampling.NEAREST))
    large = Image.fromarray(heat.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    share = OPACITY * np.clip(np.asarray(large), 0, 1)[..., None]
    return np.round((1 - share) * shown + share * HOT).astype(np.uint8)


def data_url(picture: np.ndarray) -> str:
    content = BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
