"""Which pixels speak for a class, for any network: gradient times input.

Source: Shrikumar, A., Greenside, P., Shcherbina, A. and Kundaje, A. (2016). Not just a black box: learning important
features through propagating activation differences. arXiv:1605.01713.
"""

import keras
import numpy as np
import tensorflow as tf

from imagelab.explanation.class_score import class_scores


def contributions(network: keras.Model, images: np.ndarray, classes: np.ndarray | None = None) -> np.ndarray:
    """What each pixel adds to the score of a class, to first order: float (n, height, width), with its sign.

    The sum over the channels. A black pixel adds nothing, whatever the network makes of it.

    Args:
        images: uint8 (n, height, width, channels).
        classes: whole numbers (n,), which class is explained; None: the likeliest one of each image.
    """
    pixels = tf.cast(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        scores = class_scores(network(pixels, training=False), classes)
    added: np.ndarray = tf.reduce_sum(tape.gradient(scores, pixels) * pixels, axis=3).numpy()
    return added
