"""TensorFlow's fused batch normalisation for Keras's layer: the same numbers in one kernel instead of a dozen.

Keras 3 writes training-mode batch normalisation as separate element-wise operations and casts bfloat16 to float32 and
back around them; on the processor that is a third of deeper_cnn's time. The layer's class, weights and configuration
stay Keras's own, so that files know nothing of this.
"""

from types import MethodType

import keras
import tensorflow as tf
from keras.layers import BatchNormalization


def fuse_batch_normalization(model: keras.Model) -> None:
    """Let the model's 4-D channels-last batch normalisations use the fused kernel while training."""
    for layer in model.layers:
        if type(layer) is BatchNormalization and len(layer.input.shape) == 4 and layer.axis in (-1, 3):
            layer.call = MethodType(fused_call, layer)


def fused_call(
    self: BatchNormalization, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """As BatchNormalization.call; statistics are float32 whatever the inputs are."""
    if not training or not self.trainable or mask is not None:
        return BatchNormalization.call(self, inputs, training=training, mask=mask)
    empty = tf.constant([], tf.float32)  # unused while training
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.cast(self.gamma, tf.float32),
        offset=tf.cast(self.beta, tf.float32),
        mean=empty,
        variance=empty,
        epsilon=self.epsilon,
        is_training=True,
    )
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    biased = variance * (count - 1) / count  # the kernel gives n-1, Keras keeps n
    for moving, new in ((self.moving_mean, mean), (self.moving_variance, biased)):
        moving.assign(moving * self.momentum + new * (1 - self.momentum))
    return outputs
