"""The optimisers by name, all Keras's own, with what goes with any of them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from imagelab.training.fused_kernels import fuse_adam

OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
    "lion": keras.optimizers.Lion,
}
NOT_DECAYED = ["bias", "gamma", "beta"]  # names of variables that weight decay leaves alone


def make_optimizer(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float | None = None,
    gradient_clipping: float = 0.0,
    gradient_accumulation: int = 1,
    ema: float = 0.0,
) -> keras.optimizers.Optimizer:
    """An optimiser, not yet built.

    Args:
        name: one of OPTIMIZERS.
        weight_decay: decoupled from the loss (Loshchilov and Hutter, 2019), times the learning rate; None: the
            optimiser's own, which is 0.004 for AdamW and none for the others.
        gradient_clipping: the longest gradient, by its norm over all weights; 0: any.
        gradient_accumulation: batches whose mean gradient makes one update.
        ema: decay of the moving average of the weights; 0: none is kept.
    """
    options: dict[str, Any] = {
        "global_clipnorm": gradient_clipping or None,
        "gradient_accumulation_steps": gradient_accumulation if gradient_accumulation > 1 else None,
        **({} if weight_decay is None else {"weight_decay": weight_decay}),
        **({"use_ema": True, "ema_momentum": ema} if ema else {}),
    }
    optimizer = OPTIMIZERS[name](learning_rate, **options)
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def fuse(optimizer: keras.optimizers.Optimizer) -> None:
    """Let an optimiser of the Adam family, compiled into a network, update each variable by one kernel."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # a loss-scaling optimizer wraps it for float16
    if isinstance(inner, keras.optimizers.Adam):
        fuse_adam(inner)
