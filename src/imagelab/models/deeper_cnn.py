"""Four convolutions with batch normalisation and dropout, and a wider dense layer."""

import keras
from keras import layers

from imagelab.models import dropout_rates
from imagelab.models.layers import dropout, network, padding_for


def build(image_shape: tuple[int, int, int], num_classes: int, dropout_rate: float | None = None) -> keras.Model:
    """Twice (Conv f, BatchNorm, Conv f, MaxPool, dropout 0.25), f = 32 and 64; Dense 256, BatchNorm, dropout 0.5."""
    padding = padding_for(image_shape)
    body: list[layers.Layer] = []
    *between, last = dropout_rates("deeper_cnn", num_classes)
    for filters, rate in zip((32, 64), between, strict=True):
        body += [layers.Conv2D(filters, 3, activation="relu", padding=padding), layers.BatchNormalization()]
        body += [layers.Conv2D(filters, 3, activation="relu", padding=padding), layers.MaxPooling2D(padding=padding)]
        body += [dropout(rate, dropout_rate)]
    body += [layers.Flatten(), layers.Dense(256, activation="relu"), layers.BatchNormalization()]
    return network("deeper_cnn", image_shape, [*body, dropout(last, dropout_rate)], num_classes)
