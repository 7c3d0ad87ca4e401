"""The table of models. A new one is a file here of that name, with `build`, and a line in MODELS.

Every model takes raw pixels (0-255) of any image shape and gives probabilities; scaling happens inside.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

MODELS = (
    "basic_ann",
    "basic_cnn",
    "deeper_cnn",
)


def build_model(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    dropout_rate: float | None = None,
) -> "keras.Model":
    """Build the untrained network `name`, under Keras's current dtype policy.

    Args:
        image_shape: (height, width, channels) of the images.
        num_classes: length of the probability vector that the network gives.
        dropout_rate: replaces the rate of every dropout layer; None keeps the network's own.

    Raises:
        KeyError: `name` is not in MODELS.
    """
    if name not in MODELS:
        raise KeyError(f"no model named {name!r}; known: {', '.join(MODELS)}")
    model: keras.Model = import_module(f"imagelab.models.{name}").build(image_shape, num_classes, dropout_rate)
    return model
