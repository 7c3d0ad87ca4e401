"""How the learning rate changes: over the steps of a training, or (plateau) with what its epochs have shown."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from imagelab.recipes import PLATEAU_PATIENCE

SHARE_UP, START, END = 0.3, 1 / 25, 1 / 250_000  # of one_cycle: steps that rise; first and last rate, of the peak
FACTOR, SMALLEST, LEAST_GAIN = 0.5, 1e-7, 1e-4  # of plateau, as Keras's ReduceLROnPlateau counts


def make_learning_rate(learning_rate: float, schedule: str, steps: int, warmup_steps: int = 0) -> Any:
    """A schedule over `steps` steps, the first `warmup_steps` of which rise from 0; or a constant.

    Args:
        learning_rate: the highest.
        schedule: constant; cosine, down to 0 (Loshchilov and Hutter, 2017); linear, down to 0; one_cycle, up from a
            25th for 30 % of the steps and down along a cosine (Smith, 2018); plateau, which `plateau_rate` lowers.
    """
    schedules = keras.optimizers.schedules
    if schedule == "plateau" or (schedule == "constant" and not warmup_steps):
        return learning_rate
    if schedule == "one_cycle":
        up = max(1, warmup_steps or round(SHARE_UP * steps))
        down = max(1, steps - up)
        return schedules.CosineDecay(START * learning_rate, down, END, warmup_target=learning_rate, warmup_steps=up)
    if schedule == "cosine" and not warmup_steps:
        return schedules.CosineDecay(learning_rate, steps)
    down = max(1, steps - warmup_steps)
    after = {
        "constant": schedules.CosineDecay(learning_rate, down, alpha=1.0),
        "cosine": schedules.CosineDecay(learning_rate, down),
        "linear": schedules.PolynomialDecay(learning_rate, down, end_learning_rate=0.0),
    }[schedule]
    return Warmup(learning_rate, warmup_steps, after) if warmup_steps else after


@keras.saving.register_keras_serializable("imagelab")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """Rises from 0 to the peak in so many steps; then another schedule begins."""

    def __init__(self, peak: float, steps: int, after: Any) -> None:
        self.peak, self.steps = peak, steps
        self.after = keras.saving.deserialize_keras_object(after) if isinstance(after, dict) else after

    def __call__(self, step: Any) -> Any:
        step = tf.cast(step, tf.float32)
        rising = self.peak * (step + 1) / self.steps
        return tf.where(step < self.steps, rising, self.after(tf.maximum(0.0, step - self.steps)))

    def get_config(self) -> dict[str, Any]:
        after = keras.saving.serialize_keras_object(self.after)
        return {"peak": self.peak, "steps": self.steps, "after": after}


def plateau_rate(learning_rate: float, costs: Sequence[float], warmup_epochs: int = 0) -> float:
    """The rate of the next epoch: halved after every `PLATEAU_PATIENCE` epochs that have not lowered the cost.

    A function of the epochs before, so that a resumed training goes on with the rate that it had.

    Args:
        costs: of each epoch so far, what the best one has least of (val_loss).
        warmup_epochs: epochs with a share of the rate, at first.
    """
    if len(costs) < warmup_epochs:
        return learning_rate * (len(costs) + 1) / (warmup_epochs + 1)
    best, waited = float("inf"), 0
    for each in costs:
        if each < best - LEAST_GAIN:
            best, waited = each, 0
        else:
            waited += 1
        if waited >= PLATEAU_PATIENCE:
            learning_rate, waited = max(SMALLEST, FACTOR * learning_rate), 0
    return learning_rate
