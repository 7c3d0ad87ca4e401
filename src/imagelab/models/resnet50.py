"""ResNet50 (He et al., 2016): 50 layers with shortcuts."""

from typing import Any

import keras

from imagelab.models.transfer import transfer_network

STAGES = ("conv3_block4_out", "conv4_block6_out")  # ends of the stages before the last one


def build(
    image_shape: tuple[int, int, int], num_classes: int, dropout_rate: float | None = None, **options: Any
) -> keras.Model:
    """Preprocessed by channels in BGR order, their ImageNet means taken off."""
    application = keras.applications.ResNet50
    preprocess = keras.applications.resnet50.preprocess_input
    return transfer_network(
        "resnet50", application, image_shape, num_classes, dropout_rate, preprocess=preprocess, stages=STAGES, **options
    )
