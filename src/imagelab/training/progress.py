"""Tells the progress module of batches and epochs as Keras trains them."""

import keras

from imagelab.progress import EpochProgress
from imagelab.training.checkpoints import Checkpoints

Logs = dict[str, float] | None


class TrainingProgress(keras.callbacks.Callback):
    """Stands after the callback that completes epochs. The caller enters `bar`, which puts the terminal right."""

    def __init__(self, checkpoints: Checkpoints, phase: str, epochs: int, images: int) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.bar = EpochProgress(epochs, images, phase)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.bar.begin_epoch(epoch + 1, self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.bar.update(min(batch + 1, self.params["steps"]))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if len(self.checkpoints.rows) > epoch:  # a diverged epoch is not completed
            self.bar.end_epoch(self.checkpoints.rows[-1], self.checkpoints.best_row)
