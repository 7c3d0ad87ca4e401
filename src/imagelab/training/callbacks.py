"""What happens around each epoch."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from imagelab.models.layers import layers_of
from imagelab.training.checkpoints import EPOCHS_TO_MEASURE, Checkpoints, Row, cost
from imagelab.training.plan import FitPlan
from imagelab.training.schedules import plateau_rate

Logs = dict[str, float] | None


class SeedEachEpoch(keras.callbacks.Callback):
    """Make everything random in an epoch a function of (seed, epoch), so that a resumed run repeats it."""

    def __init__(self, seed: int, epoch: tf.Variable) -> None:
        super().__init__()
        self.seed, self.epoch = seed, epoch

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.assign(epoch)
        generators = [layer.seed_generator for layer in layers_of(self.model) if hasattr(layer, "seed_generator")]
        for index, generator in enumerate(generators):
            start = np.random.SeedSequence([self.seed, epoch, index]).generate_state(generator.state.shape[0])
            generator.state.assign(tf.cast(start, generator.state.dtype))


class LowerOnPlateau(keras.callbacks.Callback):
    """Set the rate of each epoch to what the epochs before it ask for.

    Args:
        rows: of the phase, those before an interruption.
    """

    def __init__(self, plan: FitPlan, monitor: str, rows: list[Row]) -> None:
        super().__init__()
        self.plan, self.monitor, self.costs = plan, monitor, [cost(row, monitor) for row in rows]

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        rate = plateau_rate(self.plan.learning_rate, self.costs, self.plan.warmup_epochs)
        self.model.optimizer.learning_rate = rate

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.costs.append(cost(logs or {}, self.monitor))


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """Put the moving average of the weights in place while validation images are looked at, and inside `with`."""

    def __enter__(self) -> None:
        self.on_test_begin()

    def __exit__(self, *_: object) -> None:
        self.on_test_end()


class AveragedEpochs(keras.callbacks.Callback):
    """Put the mean of the networks after the last epochs in place while validation images are looked at, and in `with`.

    Stochastic weight averaging (Izmailov et al., 2018); the statistics of batch normalisation are averaged, too.

    Args:
        checkpoints: what is averaged is kept beside them, so that a resumed training goes on with it.
        first: number of the first epoch that counts, from 1.
    """

    def __init__(self, checkpoints: Checkpoints, first: int) -> None:
        super().__init__()
        self.checkpoints, self.first, self.epoch = checkpoints, first, 0
        self.mean: list[np.ndarray] = []
        self.own: list[np.ndarray] = []

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch = epoch + 1
        if self.epoch > self.first and not self.mean:
            self.mean = self.checkpoints.load_mean(epoch)

    def on_test_begin(self, logs: Logs = None) -> None:
        if self.epoch >= self.first:
            count, weights = self.epoch - self.first, self.model.get_weights()
            means = self.mean or weights
            self.mean = [mean + (new - mean) / (count + 1) for mean, new in zip(means, weights, strict=True)]
            self.checkpoints.save_mean(self.epoch, self.mean)
        self.__enter__()

    def on_test_end(self, logs: Logs = None) -> None:
        self.__exit__()

    def __enter__(self) -> None:
        if self.mean:
            self.own = self.model.get_weights()
            self.model.set_weights(self.mean)

    def __exit__(self, *_: object) -> None:
        if self.mean:
            self.model.set_weights(self.own)


class StopEarly(keras.callbacks.EarlyStopping):
    """Keras's early stopping, which remembers the epochs before an interruption, and looks at those from `since` on."""

    def __init__(self, monitor: str, patience: int, rows: list[Row], since: int) -> None:
        mode = "min" if monitor.endswith("loss") else "max"
        super().__init__(monitor=monitor, mode=mode, patience=patience, start_from_epoch=since)
        self.rows = list(rows)

    def on_train_begin(self, logs: Logs = None) -> None:
        super().on_train_begin(logs)
        for row in self.rows:
            self.on_epoch_end(row["epoch"] - 1, row)


class StopInTime(keras.callbacks.Callback):
    """Ends the training where another epoch would end beyond the time limit; stands after what completes epochs.

    It also ends, to be gone on with by a shorter plan, where two epochs have shown that not all of the plan's fit.
    """

    def __init__(self, checkpoints: Checkpoints, phase: str, plan: FitPlan) -> None:
        super().__init__()
        self.checkpoints, self.phase, self.plan = checkpoints, phase, plan

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        minutes = self.plan.time_limit or 0
        measured = self.checkpoints.are_kept and len(self.checkpoints.rows_of(self.phase)) == EPOCHS_TO_MEASURE
        too_many = measured and self.checkpoints.epochs_in_time(self.phase, minutes) < self.plan.epochs
        if too_many or self.checkpoints.is_out_of_time(minutes):
            self.model.stop_training = True


class CompleteEpoch(keras.callbacks.Callback):
    """Measure an epoch, save its checkpoint and then report its row: one row, one point on each curve.

    An epoch whose loss is no number is not completed: `diverged` says so and training stops.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        phase: str,
        images: int,
        on_epoch: Callable[[Row], None],
        averaged: AveragedWeights | AveragedEpochs | None = None,
    ) -> None:
        super().__init__()
        self.checkpoints, self.phase, self.images, self.on_epoch = checkpoints, phase, images, on_epoch
        self.averaged = averaged
        self.started = self.trained = self.processor_started = 0.0
        self.diverged = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.started = self.trained = time.perf_counter()
        self.processor_started = time.process_time()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "phase": self.phase,
            **{name: float(value) for name, value in (logs or {}).items()},
            "learning_rate": float(self.model.optimizer.learning_rate),
            "epoch_seconds": time.perf_counter() - self.started,
            "epoch_processor_seconds": time.process_time() - self.processor_started,
            "images_per_second": self.images / (self.trained - self.started),
            "timestamp": round(time.time() * 1000),
        }
        if not (np.isfinite(row["loss"]) and np.isfinite(row["val_loss"])):
            self.diverged = self.model.stop_training = True
            return
        self.checkpoints.save(self.model, row, self.averaged)
        self.on_epoch(row)
