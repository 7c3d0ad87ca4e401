"""One training: compile, go on from where the checkpoints end, fit."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from imagelab.data.batches import make_batches, make_training_batches
from imagelab.data.dataset import ReadSplit, Split
from imagelab.errors import DivergedError
from imagelab.models.transfer import head_of
from imagelab.training.callbacks import CompleteEpoch, SeedEachEpoch, StopEarly
from imagelab.training.checkpoints import Checkpoints, Row
from imagelab.training.fused import fuse_adam, fuse_batch_normalization
from imagelab.training.progress import TrainingProgress

VALIDATION_BATCH_SIZE = 500
UPDATES_AN_EPOCH = 20  # of the progress bar; in between, TensorFlow runs steps without coming back to Python
MOST_STEPS_PER_EXECUTION = 32


def seed_everything(seed: int) -> None:
    """Fix every source of chance; on a GPU also the order of sums, which costs speed (a processor's is fixed)."""
    keras.utils.set_random_seed(seed)
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def train(
    model: keras.Model,
    fitted: Split | ReadSplit,
    validated: Split | ReadSplit,
    checkpoints: Checkpoints,
    *,
    phase: str = "train",
    epochs: int,
    batch_size: int,
    learning_rate: float,
    learning_rate_schedule: str = "constant",
    label_smoothing: float = 0.0,
    augmentation: str = "none",
    early_stopping_patience: int = 5,
    seed: int = 0,
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> None:
    """Train until `epochs` or early stopping; rows and the best network are in `checkpoints` afterwards.

    Args:
        phase: what its epochs are marked with; those of earlier phases are counted on.
        on_epoch: called with the row of each complete epoch, after its checkpoint is safe.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    done = checkpoints.rows_of(phase)
    if is_over(done, epochs, early_stopping_patience or epochs):
        return
    last_epoch = len(checkpoints.rows) - len(done) + epochs
    num_classes, steps = model.output_shape[-1], -(-len(fitted) // batch_size)
    rate = make_learning_rate(learning_rate, learning_rate_schedule, epochs * steps)
    compile_model(model, rate, label_smoothing, steps)
    fuse_adam(model.optimizer)
    fuse_batch_normalization(model)
    checkpoints.restore(model, phase)
    epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
    complete = CompleteEpoch(checkpoints, phase, len(fitted), on_epoch)
    progress = TrainingProgress(checkpoints, phase, last_epoch, len(fitted))
    with progress.bar:
        model.fit(
            make_training_batches(fitted, num_classes, batch_size, seed, epoch, augmentation),
            validation_data=make_batches(validated, num_classes, VALIDATION_BATCH_SIZE),
            initial_epoch=len(checkpoints.rows),
            epochs=last_epoch,
            verbose=0,
            shuffle=False,  # the batches are shuffled
            callbacks=[
                SeedEachEpoch(seed, epoch),
                keras.callbacks.TerminateOnNaN(),
                complete,
                progress,
                StopEarly(early_stopping_patience or epochs, done),
            ],
        )
    if complete.diverged:
        raise DivergedError(
            f"the loss became NaN or infinite in epoch {len(checkpoints.rows) + 1}; "
            f"try a learning_rate below {learning_rate:g} or mixed_precision=float32"
        )


def fine_tune(
    network: keras.Model,
    best: keras.Model,
    fitted: Split,
    validated: Split,
    checkpoints: Checkpoints,
    *,
    fine_tune_epochs: int,
    fine_tune_learning_rate: float,
    **options: Any,
) -> None:
    """Go on from the best head with all of the network that is unfrozen, as a phase of its own.

    Args:
        network: the network to train.
        best: the same network in float32, whose head was trained.
        options: as `train` takes them.
    """
    if not checkpoints.rows_of("fine_tune"):
        restore_best(best, checkpoints)
        network.set_weights(best.get_weights())
    phase = {"phase": "fine_tune", "epochs": fine_tune_epochs, "learning_rate": fine_tune_learning_rate}
    train(network, fitted, validated, checkpoints, **options | phase)


def restore_best(best: keras.Model, checkpoints: Checkpoints) -> keras.Model:
    """Put the best epoch's weights into the network `best`; return what that epoch has trained: it, or its head."""
    trained = head_of(best) if checkpoints.best_row["phase"] == "head" else best
    trained.load_weights(checkpoints.best_path)
    return trained


def predict(model: keras.Model, split: Split | ReadSplit) -> np.ndarray:
    """Probabilities of each image (of its features, where the model is a head), float32 (n, num_classes)."""
    batches = make_batches(split, model.output_shape[-1], VALIDATION_BATCH_SIZE)
    probabilities: np.ndarray = model.predict(batches, verbose=0)
    return probabilities


def make_learning_rate(
    learning_rate: float, schedule: str, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """A constant, or a cosine from `learning_rate` down to 0 over all steps (Loshchilov and Hutter, 2017)."""
    return keras.optimizers.schedules.CosineDecay(learning_rate, steps) if schedule == "cosine" else learning_rate


def compile_model(model: keras.Model, learning_rate: object, label_smoothing: float, steps: int) -> None:
    metrics: list[str | keras.metrics.Metric] = ["accuracy"]
    if model.output_shape[-1] > 10:
        metrics.append(keras.metrics.TopKCategoricalAccuracy(5, name="top_5_accuracy"))
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        metrics=metrics,
        steps_per_execution=max(1, min(MOST_STEPS_PER_EXECUTION, steps // UPDATES_AN_EPOCH)),
        jit_compile=bool(tf.config.list_physical_devices("GPU")),  # on the processor XLA is 4 times slower than oneDNN
    )


def is_over(rows: list[Row], epochs: int, patience: int) -> bool:
    """Whether nothing was left to train when the run was interrupted."""
    losses = [row["val_loss"] for row in rows]
    return len(rows) >= epochs or (len(rows) > 1 and len(losses) - 1 - losses.index(min(losses)) >= patience)
