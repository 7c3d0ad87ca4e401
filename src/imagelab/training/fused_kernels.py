"""TensorFlow's fused kernels for Keras's batch normalisation and Adam: the same formulas, one kernel instead of dozens.

Keras 3 writes both as separate element-wise operations (and casts bfloat16 to float32 and back around the first); on
the processor that is a third of deeper_cnn's time, and most of basic_ann's. Classes, weights and configuration stay
Keras's own, so that files know nothing of this.
"""

from types import MethodType

import keras
import tensorflow as tf
from keras.layers import BatchNormalization

from imagelab.models.layers import layers_of


def fuse_adam(optimizer: keras.optimizers.Adam) -> None:
    """Let Adam update each variable by one kernel."""
    optimizer.update_step = MethodType(fused_update_step, optimizer)


def fused_update_step(
    self: keras.optimizers.Adam, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
) -> None:
    """As Adam.update_step, for one float32 variable without amsgrad."""
    index = self._get_variable_index(variable)
    step = tf.cast(keras.ops.convert_to_tensor(self.iterations) + 1, tf.float32)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=self._momentums[index].value.handle,
        v=self._velocities[index].value.handle,
        beta1_power=tf.pow(self.beta_1, step),
        beta2_power=tf.pow(self.beta_2, step),
        lr=tf.cast(learning_rate, tf.float32),
        beta1=self.beta_1,
        beta2=self.beta_2,
        epsilon=self.epsilon,
        grad=tf.cast(gradient, tf.float32),
    )


def fuse_batch_normalization(model: keras.Model) -> None:
    """Let the model's 4-D channels-last batch normalisations use the fused kernel while training."""
    for layer in layers_of(model):
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
