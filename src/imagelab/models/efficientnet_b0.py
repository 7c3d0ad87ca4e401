"""EfficientNet-B0 (Tan and Le, 2019)."""

import math
from typing import Any

import keras
from keras import layers

from imagelab.models.transfer import transfer_network

STAGES = ("block4a_expand_activation", "block6a_expand_activation")  # ends of the stages before the last one
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, of 1


def build(
    image_shape: tuple[int, int, int], num_classes: int, dropout_rate: float | None = None, **options: Any
) -> keras.Model:
    """The application scales pixels itself, but for a part that Keras leaves out where weights come from a file."""
    application = keras.applications.EfficientNetB0
    if options["weights"] not in ("imagenet", "none"):
        options["preprocess"] = as_of_imagenet
    return transfer_network(
        "efficientnet_b0", application, image_shape, num_classes, dropout_rate, stages=STAGES, **options
    )


def as_of_imagenet(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Pixels such that the network's own standardisation divides by the deviation, and not by its root alone.

    The weights were trained so; `weights="imagenet"` appends the second division by the root (keras.applications).
    """
    scale = [1 / math.sqrt(deviation) for deviation in DEVIATION]
    offset = [255 * mean * (1 - factor) for mean, factor in zip(MEAN, scale, strict=True)]
    return layers.Rescaling(scale, offset, dtype="float32", name="deviation")(pixels)
