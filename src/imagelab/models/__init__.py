"""The table of models. A new one is a file here of that name, with `build`, and a line in each table that it is in.

Every model takes raw pixels (0-255) of any image shape and gives probabilities; scaling happens inside.
The tables say what settings need to know of a network without importing TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Shape = tuple[int | None, int | None, int]  # height, width, channels
POOLED_STAGES = {  # of each backbone: how many of its last stages can give features
    "resnet50": 3,
    "vgg16": 3,
    "mobilenet_v2": 3,
    "efficientnet_b0": 3,
    "efficientnet_v2_b0": 3,
    "convnext_tiny": 3,
    "vit": 1,
}
BACKBONES = tuple(POOLED_STAGES)
RESIDUAL = ("small_resnet", "resnet20")  # small networks of blocks with a shortcut, which can be skipped in training
MODELS = (
    "basic_ann",
    "basic_cnn",
    "deeper_cnn",
    *RESIDUAL,
    *BACKBONES,
)
ENSEMBLE = "ensemble"  # what the command of that name makes of finished networks; it is not trained
REGISTRABLE = (*MODELS, ENSEMBLE)  # what the second half of a registered model's name can be
DROPOUT_RATES: dict[str, tuple[float, ...]] = {
    "basic_ann": (0.2, 0.2),
    "basic_cnn": (0.5,),
    "deeper_cnn": (0.25, 0.25, 0.5),
    **dict.fromkeys(RESIDUAL, (0.0,)),
}
HEAD_DROPOUT_RATES = {"linear": (0.5,), "wide": (0.3, 0.5), "mlp": (0.5, 0.5)}


def stages_of(model: str) -> int:
    """The largest `pooled_stages` of a model: how many stages its backbone has, 0 where it has no backbone."""
    return POOLED_STAGES.get(model, 0)


def dropout_rates(model: str, num_classes: int, head: str | None = None) -> tuple[float, ...]:
    """The rates of a model's own dropout layers, in their order; of a backbone those of its head.

    Args:
        head: of a backbone: linear, wide or mlp.

    Raises:
        KeyError: there is no such model, or no such head.
    """
    if model in BACKBONES:
        return HEAD_DROPOUT_RATES[head or ""]
    if model == "basic_ann" and num_classes > 10:
        return (0.1, 0.1)
    return DROPOUT_RATES[model]


def build_model(
    name: str,
    image_shape: Shape,
    num_classes: int,
    dropout_rate: float | None = None,
    *,
    image_size: int | None = None,
    weights: str | None = None,
    head: str | None = None,
    pooled_stages: int | None = None,
    stochastic_depth: float = 0.0,
) -> "keras.Model":
    """Build the network `name`, under Keras's current dtype policy; untrained but for a backbone's weights.

    Args:
        image_shape: of the images; a network of RESIDUAL takes any height and width where they are None.
        num_classes: length of the probability vector that the network gives.
        dropout_rate: replaces the rate of every dropout layer; None keeps the network's own.
        image_size, weights, head, pooled_stages: of a backbone, see `transfer.transfer_network`; the others have none.
        stochastic_depth: of a network of RESIDUAL, see `residual.residual_network`; the others have none.

    Raises:
        KeyError: `name` is not in MODELS.
    """
    if name not in MODELS:
        raise KeyError(f"no model named {name!r}; known: {', '.join(MODELS)}")
    options: dict[str, Any] = {}
    if name in BACKBONES:
        options = {"image_size": image_size, "weights": weights, "head": head, "pooled_stages": pooled_stages}
    elif name in RESIDUAL:
        options = {"stochastic_depth": stochastic_depth}
    module = import_module(f"imagelab.models.{name}")
    model: keras.Model = module.build(image_shape, num_classes, dropout_rate, **options)
    return model
