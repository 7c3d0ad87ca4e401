"""MobileNetV2 (Sandler et al., 2018): inverted residuals, small and fast."""

from typing import Any

import keras

from imagelab.models.transfer import transfer_network

STAGES = ("block_6_expand_relu", "block_13_expand_relu")  # ends of the stages before the last one


def build(
    image_shape: tuple[int, int, int], num_classes: int, dropout_rate: float | None = None, **options: Any
) -> keras.Model:
    """Preprocessed to -1..1."""
    application = keras.applications.MobileNetV2
    preprocess = keras.applications.mobilenet_v2.preprocess_input
    return transfer_network(
        "mobilenet_v2",
        application,
        image_shape,
        num_classes,
        dropout_rate,
        preprocess=preprocess,
        stages=STAGES,
        **options,
    )
