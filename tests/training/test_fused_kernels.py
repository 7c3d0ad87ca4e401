"""The fused kernels compute what Keras's own code computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from imagelab.training.fused_kernels import fuse_adam, fuse_batch_normalization
from tests.training.plans import skip_without


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_batch_normalization(policy: str) -> None:
    skip_without(policy)
    inputs = np.random.default_rng(0).normal(3, 2, (16, 7, 5, 4)).astype("float32")
    outputs, gradients, moving = {}, {}, {}
    for kind in ("own", "fused"):
        model = keras.Sequential([keras.Input((7, 5, 4)), keras.layers.BatchNormalization(dtype=policy)])
        model.layers[0].gamma.assign([1.0, 2.0, 3.0, 4.0])
        if kind == "fused":
            fuse_batch_normalization(model)
        with tf.GradientTape() as tape:
            result = model(inputs, training=True)
            loss = tf.reduce_sum(tf.cast(result, tf.float32) ** 3)
        outputs[kind] = result.numpy().astype("float32")
        weights = [weight.value for weight in model.trainable_variables]
        gradients[kind] = np.concatenate([gradient.numpy() for gradient in tape.gradient(loss, weights)])
        moving[kind] = np.concatenate([weight.numpy() for weight in model.non_trainable_variables])
    tolerance = 1e-4 if policy == "float32" else 5e-2
    for values in (outputs, gradients):
        np.testing.assert_allclose(values["fused"], values["own"], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(moving["fused"], moving["own"], rtol=2e-4, atol=2e-4)
    assert np.abs(moving["fused"][:4]).min() > 0.02  # they have moved at all


def test_batch_normalization_outside_training_is_keras_own() -> None:
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.BatchNormalization()])
    inputs = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype("float32")
    before = model(inputs, training=False).numpy()
    fuse_batch_normalization(model)
    np.testing.assert_array_equal(model(inputs, training=False).numpy(), before)
    model.layers[0].trainable = False
    np.testing.assert_array_equal(model(inputs, training=True).numpy(), before)


def test_adam() -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(5, 3)).astype("float32")
    gradients = [random.normal(size=(5, 3)).astype("float32") for _ in range(20)]
    ends = {}
    for kind in ("own", "fused"):
        variable = keras.Variable(start)
        schedule = keras.optimizers.schedules.CosineDecay(0.01, 20)
        optimizer = keras.optimizers.Adam(schedule)
        optimizer.build([variable])
        if kind == "fused":
            fuse_adam(optimizer)
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient)], [variable])
        ends[kind] = [variable.numpy(), *(state.numpy() for state in optimizer.variables)]
    for fused, own in zip(ends["fused"], ends["own"], strict=True):
        np.testing.assert_allclose(fused, own, rtol=1e-4, atol=1e-6)
