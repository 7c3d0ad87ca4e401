"""How the learning rate changes over the steps of a training."""

import keras


def make_learning_rate(
    learning_rate: float, schedule: str, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """A constant, or a cosine from `learning_rate` down to 0 over all steps (Loshchilov and Hutter, 2017)."""
    return keras.optimizers.schedules.CosineDecay(learning_rate, steps) if schedule == "cosine" else learning_rate
