"""A learning rate that rises step by step, and the loss of each step (Smith, 2017: the learning-rate range test)."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import keras
import numpy as np

Logs = dict[str, float] | None
MEMORY = 0.9  # share of the average so far in the next one
HOPELESS = 4.0  # times the lowest smoothed loss: what is higher will not come back


@dataclass(frozen=True)
class Step:
    """A batch that the network has learned from.

    Attributes:
        number: from 1.
        loss: of this batch, before the weights were changed.
        smoothed_loss: the average of the losses so far, each counted 0.9 times as much as the next one.
    """

    number: int
    learning_rate: float
    loss: float
    smoothed_loss: float

    def figures(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self).items() if name != "number"}


class RisingRate(keras.callbacks.Callback):
    """Sets the rate of each batch, from the lowest to the highest by the same factor each, and keeps the losses.

    Ends the training after the last one, or where the loss is lost: not finite, or its average 4 times the lowest. For
    a network that is compiled with a constant rate and to come back to Python after each step.
    """

    def __init__(self, lowest: float, highest: float, steps: int, on_step: Callable[[Step], None]) -> None:
        super().__init__()
        self.rates = np.geomspace(lowest, highest, steps)
        self.on_step, self.average = on_step, 0.0
        self.done: list[Step] = []

    @property
    def steps(self) -> int:
        return len(self.rates)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.model.optimizer.learning_rate = self.rates[len(self.done)]
        self.model.reset_metrics()  # so that the loss is this batch's alone

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss, number = float((logs or {})["loss"]), len(self.done) + 1
        self.average = MEMORY * self.average + (1 - MEMORY) * loss
        if not math.isfinite(loss):
            self.model.stop_training = True
            return
        smoothed = self.average / (1 - MEMORY**number)
        self.done.append(Step(number, float(self.rates[number - 1]), loss, smoothed))
        self.on_step(self.done[-1])
        if number == self.steps or smoothed > HOPELESS * min(step.smoothed_loss for step in self.done):
            self.model.stop_training = True
