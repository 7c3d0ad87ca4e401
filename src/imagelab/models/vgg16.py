"""VGG16 (Simonyan and Zisserman, 2015): plain 3x3 convolutions."""

from typing import Any

import keras

from imagelab.models.transfer import transfer_network

STAGES = ("block3_pool", "block4_pool")  # ends of the stages before the last one


def build(
    image_shape: tuple[int, int, int], num_classes: int, dropout_rate: float | None = None, **options: Any
) -> keras.Model:
    """Preprocessed by channels in BGR order, their ImageNet means taken off."""
    application = keras.applications.VGG16
    preprocess = keras.applications.vgg16.preprocess_input
    return transfer_network(
        "vgg16", application, image_shape, num_classes, dropout_rate, preprocess=preprocess, stages=STAGES, **options
    )
