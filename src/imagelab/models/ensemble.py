"""Finished networks as one, whose probabilities are the weighted average of theirs."""

from collections.abc import Sequence

import keras
from keras import layers

from imagelab.models import ENSEMBLE


def weighted_average(networks: Sequence[keras.Model], weights: Sequence[float]) -> keras.Model:
    """A network that asks each of these; one with weight 0 is left out.

    Of layers that Keras knows, so that it is saved, loaded and served as any other network. The networks get new names,
    since those of an ensemble must differ.

    Args:
        networks: of raw pixels of one shape, which each scales inside; their number format may differ.
        weights: not negative, their sum is 1.
    """
    pixels, parts = keras.Input(networks[0].input_shape[1:], name="pixels"), []
    for number, (network, weight) in enumerate(zip(networks, weights, strict=True)):
        network.name = f"{network.name}_{number}"
        if weight:
            scaled = layers.Rescaling(float(weight), name=f"weight_{number}", dtype="float32")
            parts.append(scaled(network(pixels)))
    average = layers.Add(name="probabilities", dtype="float32")(parts) if len(parts) > 1 else parts[0]
    return keras.Model(pixels, average, name=ENSEMBLE)
