"""Two convolutions, each followed by pooling, and one dense layer."""

import keras
from keras import layers

from imagelab.models import dropout_rates
from imagelab.models.layers import dropout, network, padding_for


def build(image_shape: tuple[int, int, int], num_classes: int, dropout_rate: float | None = None) -> keras.Model:
    """Conv 32 and 64, Dense 128, dropout 0.5; for more than ten classes Dense 320 (about 0.8 M parameters).

    A dense layer of 128 is narrower than what a hundred classes need to be told apart.
    """
    padding = padding_for(image_shape)
    body: list[layers.Layer] = []
    for filters in (32, 64):
        body += [layers.Conv2D(filters, 3, activation="relu", padding=padding)]
        body += [layers.MaxPooling2D(padding=padding)]
    units = 128 if num_classes <= 10 else 320
    (rate,) = dropout_rates("basic_cnn", num_classes)
    body += [layers.Flatten(), layers.Dense(units, activation="relu"), dropout(rate, dropout_rate)]
    return network("basic_cnn", image_shape, body, num_classes)
