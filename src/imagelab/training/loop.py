"""One phase of a training: compile, go on from where the checkpoints end, fit; and what a network says of a split."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from imagelab.console import say
from imagelab.data.batches import make_batches, make_training_batches
from imagelab.data.dataset import ReadSplit, Split
from imagelab.data.mixing import Mixing
from imagelab.errors import DivergedError, OutOfMemoryError
from imagelab.progress import images_progress
from imagelab.training.callbacks import (
    AveragedEpochs,
    AveragedWeights,
    CompleteEpoch,
    LowerOnPlateau,
    SeedEachEpoch,
    StopEarly,
    StopInTime,
)
from imagelab.training.checkpoints import EPOCHS_TO_MEASURE, Checkpoints, Row, cost
from imagelab.training.compilation import compile_model, refuse_no_update
from imagelab.training.plan import FitPlan
from imagelab.training.progress import TrainingProgress
from imagelab.training.regularization import balanced_weights
from imagelab.training.rising_rate import RisingRate

VALIDATION_BATCH_SIZE = 500
OUT_OF_TIME = "the time is up: another epoch would end after time_limit={:g} minutes"

Splits = tuple[Split | ReadSplit, Split | ReadSplit]  # (train split, validation split)


def train(
    model: keras.Model,
    splits: Splits,
    checkpoints: Checkpoints,
    plan: FitPlan,
    phase: str = "train",
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> None:
    """Train until the plan, early stopping or the time ends it; rows and the best network are in `checkpoints` then.

    With a time limit the first two epochs say how many there will be; schedules span those from then on.

    Args:
        splits: what is learned from, and what chooses; images, or features where the model is a head.
        phase: what its epochs are marked with; those of earlier phases are counted on.
        on_epoch: called with the row of each complete epoch, after its checkpoint is safe.

    Raises:
        DivergedError: the loss became NaN or infinite.
        SettingsError: there are too few batches for one update.
    """
    refuse_no_update(plan, plan.epochs * steps_of(splits[0], plan))
    if plan.time_limit and checkpoints.are_kept:
        if len(checkpoints.rows_of(phase)) < EPOCHS_TO_MEASURE:
            train_phase(model, splits, checkpoints, plan, phase, on_epoch)
            if len(checkpoints.rows_of(phase)) != EPOCHS_TO_MEASURE:
                return
        plan = fitted_to_time(plan, checkpoints, phase)
    train_phase(model, splits, checkpoints, plan, phase, on_epoch)


def fitted_to_time(plan: FitPlan, checkpoints: Checkpoints, phase: str) -> FitPlan:
    """The plan with as many epochs as fit into its time, said where some of them are still to come."""
    fitted = plan.fitted_to_time(checkpoints.epochs_in_time(phase, plan.time_limit or 0))
    is_left = len(checkpoints.rows_of(phase)) < fitted.epochs and not checkpoints.is_out_of_time(plan.time_limit)
    if fitted.epochs < plan.epochs and is_left:
        average = f"; average_epochs={fitted.average_epochs}" if fitted.average_epochs < plan.average_epochs else ""
        say(f"{fitted.epochs} of {plan.epochs} epochs fit into time_limit={plan.time_limit:g} minutes{average}")
    return fitted


def train_phase(
    model: keras.Model,
    splits: Splits,
    checkpoints: Checkpoints,
    plan: FitPlan,
    phase: str,
    on_epoch: Callable[[Row], None],
) -> None:
    """Go on with a phase where the checkpoints end; pause where it turns out that not all epochs fit into the time."""
    done, monitor = checkpoints.rows_of(phase), checkpoints.monitor
    patience, since = plan.early_stopping_patience or plan.epochs, plan.first_whole_epoch
    if is_over([cost(row, monitor) for row in done[since:]], plan.epochs - since, patience):
        return
    if checkpoints.is_out_of_time(plan.time_limit):
        say(OUT_OF_TIME.format(plan.time_limit))
        return
    train_split, val_split = splits
    compile_model(model, plan, steps_of(train_split, plan))
    checkpoints.restore(model, phase)
    last_epoch = len(checkpoints.rows) - len(done) + plan.epochs
    averaged = averaged_weights(plan, checkpoints, last_epoch)
    complete = CompleteEpoch(checkpoints, phase, len(train_split), on_epoch, averaged)
    progress = TrainingProgress(checkpoints, phase, last_epoch, len(train_split))
    callbacks = [
        *([LowerOnPlateau(plan, monitor, done)] if plan.learning_rate_schedule == "plateau" else []),
        *([averaged] if averaged else []),
        keras.callbacks.TerminateOnNaN(),
        complete,
        progress,
        StopEarly(monitor, patience, done, since),
        *([StopInTime(checkpoints, phase, plan)] if plan.time_limit else []),
    ]
    validation_data = make_batches(val_split, model.output_shape[-1], VALIDATION_BATCH_SIZE)
    with progress.bar:
        first = len(checkpoints.rows)
        fit(model, train_split, plan, last_epoch, callbacks, initial_epoch=first, validation_data=validation_data)
    if complete.diverged:
        raise DivergedError(
            f"the loss became NaN or infinite in epoch {len(checkpoints.rows) + 1}; "
            f"try a learning_rate below {plan.learning_rate:g} or mixed_precision=float32"
        )
    if len(checkpoints.rows) < last_epoch and checkpoints.is_out_of_time(plan.time_limit):
        say(OUT_OF_TIME.format(plan.time_limit))


def steps_of(train_split: Split | ReadSplit, plan: FitPlan) -> int:
    """Batches of an epoch."""
    return -(-len(train_split) // plan.batch_size)


def averaged_weights(
    plan: FitPlan, checkpoints: Checkpoints, last_epoch: int
) -> AveragedWeights | AveragedEpochs | None:
    """What puts an average of weights in place of the last ones, where the plan wants that."""
    if plan.ema:
        return AveragedWeights()
    return AveragedEpochs(checkpoints, last_epoch - plan.average_epochs + 1) if plan.average_epochs else None


def train_with_rising_rate(
    model: keras.Model, train_split: Split | ReadSplit, plan: FitPlan, rising: RisingRate
) -> None:
    """Train for the steps of `rising` on as many epochs as they take, and validate nothing.

    Args:
        plan: its epochs, schedule and early stopping count for nothing.
    """
    steps = steps_of(train_split, plan)
    plan = plan.of_rising_rate(epochs=-(-rising.steps // steps))
    refuse_no_update(plan, plan.epochs * steps)
    compile_model(model, plan, steps, at_once=1)
    fit(model, train_split, plan, plan.epochs, [rising])


def fit(
    model: keras.Model,
    train_split: Split | ReadSplit,
    plan: FitPlan,
    last_epoch: int,
    callbacks: list[keras.callbacks.Callback],
    **options: Any,
) -> None:
    """Let Keras train a compiled network on batches as the plan has them, each epoch a function of its number.

    Raises:
        OutOfMemoryError: says which setting to lower.
    """
    num_classes, epoch = model.output_shape[-1], tf.Variable(0, dtype=tf.int64, trainable=False)
    batches = make_training_batches(
        *(train_split, num_classes, plan.batch_size, plan.seed, epoch, plan.changes_at_each_step),
        Mixing(plan.mixup, plan.cutmix, last_epoch - plan.mix_off_epochs),
        plan.sizes,
    )
    try:
        model.fit(
            batches,
            epochs=last_epoch,
            verbose=0,
            shuffle=False,  # the batches are shuffled
            class_weight=balanced_weights(train_split.labels, num_classes) if plan.class_weight == "balanced" else None,
            callbacks=[SeedEachEpoch(plan.seed, epoch), *callbacks],
            **options,
        )
    except tf.errors.ResourceExhaustedError as error:
        size = "" if plan.image_size is None else f" or an image_size below {plan.image_size}"
        raise OutOfMemoryError(
            f"there is too little memory for steps of {plan.batch_size} images; take a batch_size below "
            f"{plan.batch_size}{size}; gradient_accumulation keeps updates of as many images"
        ) from error


def predict(model: keras.Model, split: Split | ReadSplit) -> np.ndarray:
    """Probabilities of each image (of its features, where the model is a head), float32 (n, num_classes)."""
    batches = make_batches(split, model.output_shape[-1], VALIDATION_BATCH_SIZE)
    with images_progress(len(split), "predictions") as advance:
        done = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: advance(len(logs["outputs"])))
        probabilities: np.ndarray = model.predict(batches, verbose=0, callbacks=[done])
    return probabilities


def is_over(costs: list[float], epochs: int, patience: int) -> bool:
    """Whether nothing was left to train when the run was interrupted; `costs`: of each epoch, see `cost`."""
    return len(costs) >= epochs or (len(costs) > 1 and len(costs) - 1 - costs.index(min(costs)) >= patience)
