"""What maps explain: the score of a class, and which part of a map speaks for it."""

import numpy as np
import tensorflow as tf

from imagelab.evaluation.temperature import TINY


def class_scores(probabilities: tf.Tensor, classes: np.ndarray | None) -> tf.Tensor:
    """How much each image speaks for one class: its logit less the mean logit of all classes, (n,).

    The logit itself cannot be read from probabilities. Unlike the probability, this has a slope where that is 1.0, too.

    Args:
        probabilities: (n, classes).
        classes: whole numbers (n,); None: the likeliest one of each image.
    """
    logits = tf.math.log(tf.maximum(probabilities, TINY))  # but for a constant, which the difference does not have
    chosen = tf.argmax(logits, axis=1) if classes is None else tf.constant(classes, tf.int64)
    return tf.gather(logits, chosen, axis=1, batch_dims=1) - tf.reduce_mean(logits, axis=1)


def largest_is_one(contributions: np.ndarray) -> np.ndarray:
    """Only what speaks for the class, each map scaled: (n, height, width), from 0 to 1; all 0 where nothing does."""
    positive = np.maximum(contributions.astype(np.float32), 0)
    largest = positive.max(axis=(1, 2), keepdims=True)
    return np.divide(positive, largest, out=np.zeros_like(positive), where=largest > 0)
