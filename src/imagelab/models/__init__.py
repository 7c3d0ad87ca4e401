"""The table of models. A new one is a file here of that name, with `build`, and a line in MODELS (or BACKBONES).

Every model takes raw pixels (0-255) of any image shape and gives probabilities; scaling happens inside.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

BACKBONES = (
    "resnet50",
    "vgg16",
    "mobilenet_v2",
    "efficientnet_v2_b0",
    "convnext_tiny",
    "vit",
)
MODELS = (
    "basic_ann",
    "basic_cnn",
    "deeper_cnn",
    *BACKBONES,
)


def build_model(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    dropout_rate: float | None = None,
    *,
    image_size: int | None = None,
    weights: str | None = None,
    head: str | None = None,
    pooled_stages: int | None = None,
) -> "keras.Model":
    """Build the network `name`, under Keras's current dtype policy; untrained but for a backbone's weights.

    Args:
        image_shape: (height, width, channels) of the images.
        num_classes: length of the probability vector that the network gives.
        dropout_rate: replaces the rate of every dropout layer; None keeps the network's own.
        image_size, weights, head, pooled_stages: of a backbone, see `transfer.transfer_network`; the others have none.

    Raises:
        KeyError: `name` is not in MODELS.
    """
    if name not in MODELS:
        raise KeyError(f"no model named {name!r}; known: {', '.join(MODELS)}")
    of_backbone = {"image_size": image_size, "weights": weights, "head": head, "pooled_stages": pooled_stages}
    options = of_backbone if name in BACKBONES else {}
    module = import_module(f"imagelab.models.{name}")
    model: keras.Model = module.build(image_shape, num_classes, dropout_rate, **options)
    return model
