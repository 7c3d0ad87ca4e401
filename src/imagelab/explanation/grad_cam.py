"""Where a network looks: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) on its last feature maps."""

import keras
import numpy as np
import tensorflow as tf

from imagelab.explanation.class_score import class_scores, largest_is_one


class GradCam:
    """Grad-CAM for one network: images in, maps out.

    Attributes:
        below, above: the network in two parts, from pixels to feature maps and from those to probabilities.
        is_possible: whether layers with weights come before the feature maps; else the maps are only the scaled image.
    """

    def __init__(self, network: keras.Model) -> None:
        split = split_sequence if isinstance(network, keras.Sequential) else split_graph
        self.below, self.above = split(network)
        self.is_possible = bool(self.below.weights)

    def heat(self, images: np.ndarray, classes: np.ndarray | None = None) -> np.ndarray | None:
        """Where the probability of a class comes from: float (n, map height, map width), 0 to 1 in each map.

        None where the network has no feature maps, or only maps of one pixel.

        Args:
            images: uint8 (n, height, width, channels).
            classes: whole numbers (n,), which class is explained; None: the likeliest one of each image.
        """
        if not self.is_possible:
            return None
        pixels = tf.cast(images, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(pixels)  # so that what a map does through deeper maps counts, too
            maps = keras.tree.flatten(self.below(pixels, training=False))
            deepest = next((each for each in reversed(maps) if each.shape[1] * each.shape[2] > 1), None)
            if deepest is None:
                return None
            scores = class_scores(self.above(maps if len(maps) > 1 else maps[0], training=False), classes)
        importance = tf.reduce_mean(tape.gradient(scores, deepest), axis=(1, 2), keepdims=True)
        return largest_is_one(tf.reduce_sum(importance * deepest, axis=3).numpy())


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
