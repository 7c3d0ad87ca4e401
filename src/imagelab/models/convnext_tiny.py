"""ConvNeXt-Tiny (Liu et al., 2022)."""

from typing import Any

import keras

from imagelab.models.transfer import transfer_network

STAGES = (
    "convnext_tiny_stage_1_block_2_identity",
    "convnext_tiny_stage_2_block_8_identity",
)  # ends of the stages before the last one


def build(
    image_shape: tuple[int, int, int], num_classes: int, dropout_rate: float | None = None, **options: Any
) -> keras.Model:
    """The application normalises pixels itself."""
    application = keras.applications.ConvNeXtTiny
    return transfer_network(
        "convnext_tiny", application, image_shape, num_classes, dropout_rate, stages=STAGES, **options
    )
