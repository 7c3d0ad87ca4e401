"""EfficientNetV2-B0 (Tan and Le, 2021)."""

from typing import Any

import keras

from imagelab.models.transfer import transfer_network

STAGES = ("block4a_expand_activation", "block6a_expand_activation")  # ends of the stages before the last one


def build(
    image_shape: tuple[int, int, int], num_classes: int, dropout_rate: float | None = None, **options: Any
) -> keras.Model:
    """The application scales pixels itself."""
    application = keras.applications.EfficientNetV2B0
    return transfer_network(
        "efficientnet_v2_b0", application, image_shape, num_classes, dropout_rate, stages=STAGES, **options
    )
