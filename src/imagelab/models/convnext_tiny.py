"""ConvNeXt-Tiny (Liu et al., 2022)."""

from typing import Any

import keras

from imagelab.models.transfer import transfer_network


def build(
    image_shape: tuple[int, int, int], num_classes: int, dropout_rate: float | None = None, **options: Any
) -> keras.Model:
    """The application normalises pixels itself."""
    application = keras.applications.ConvNeXtTiny
    return transfer_network("convnext_tiny", application, image_shape, num_classes, dropout_rate, **options)
