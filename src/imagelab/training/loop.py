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
from imagelab.errors import DivergedError, OutOfMemoryError, SettingsError
from imagelab.progress import images_progress
from imagelab.training.callbacks import (
    AveragedWeights,
    CompleteEpoch,
    LowerOnPlateau,
    SeedEachEpoch,
    StopEarly,
    StopInTime,
)
from imagelab.training.checkpoints import Checkpoints, Row, cost
from imagelab.training.distillation_loss import AccuracyOfLabels, DistillationLoss, TopKAccuracyOfLabels
from imagelab.training.fused_kernels import fuse_batch_normalization
from imagelab.training.optimizers import fuse, make_optimizer
from imagelab.training.plan import FitPlan
from imagelab.training.progress import TrainingProgress
from imagelab.training.regularization import balanced_weights, penalize_kernels
from imagelab.training.rising_rate import RisingRate
from imagelab.training.schedules import make_learning_rate

VALIDATION_BATCH_SIZE = 500
UPDATES_AN_EPOCH = 20  # of the progress bar; in between, TensorFlow runs steps without coming back to Python
MOST_STEPS_PER_EXECUTION = 32
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
    """Train until the plan or early stopping ends it; rows and the best network are in `checkpoints` afterwards.

    Args:
        splits: what is learned from, and what chooses; images, or features where the model is a head.
        phase: what its epochs are marked with; those of earlier phases are counted on.
        on_epoch: called with the row of each complete epoch, after its checkpoint is safe.

    Raises:
        DivergedError: the loss became NaN or infinite.
        SettingsError: there are too few batches for one update.
    """
    done, monitor = checkpoints.rows_of(phase), checkpoints.monitor
    patience, since = plan.early_stopping_patience or plan.epochs, plan.first_whole_epoch
    if is_over([cost(row, monitor) for row in done[since:]], plan.epochs - since, patience):
        return
    if checkpoints.is_out_of_time(plan.time_limit):
        say(OUT_OF_TIME.format(plan.time_limit))
        return
    train_split, val_split = splits
    compile_model(model, plan, -(-len(train_split) // plan.batch_size))
    checkpoints.restore(model, phase)
    last_epoch = len(checkpoints.rows) - len(done) + plan.epochs
    averaged = AveragedWeights() if plan.ema else None
    complete = CompleteEpoch(checkpoints, phase, len(train_split), on_epoch, averaged)
    progress = TrainingProgress(checkpoints, phase, last_epoch, len(train_split))
    callbacks = [
        *([LowerOnPlateau(plan, monitor, done)] if plan.learning_rate_schedule == "plateau" else []),
        *([averaged] if averaged else []),
        keras.callbacks.TerminateOnNaN(),
        complete,
        progress,
        StopEarly(monitor, patience, done, since),
        *([StopInTime(checkpoints, plan.time_limit)] if plan.time_limit else []),
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


def train_with_rising_rate(
    model: keras.Model, train_split: Split | ReadSplit, plan: FitPlan, rising: RisingRate
) -> None:
    """Train for the steps of `rising` on as many epochs as they take, and validate nothing.

    Args:
        plan: its epochs, schedule and early stopping count for nothing.
    """
    steps = -(-len(train_split) // plan.batch_size)
    plan = plan.of_rising_rate(epochs=-(-rising.steps // steps))
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


def compile_model(model: keras.Model, plan: FitPlan, steps: int, at_once: int = MOST_STEPS_PER_EXECUTION) -> None:
    """Compile for `steps` steps an epoch, with fused kernels for Adam and batch normalisation.

    Args:
        at_once: most steps that TensorFlow runs without coming back to Python.
    """
    if plan.l2:
        penalize_kernels(model, plan.l2)
    of_all, of_warmup = (epochs * steps for epochs in (plan.epochs, plan.warmup_epochs))
    if plan.gradient_accumulation > of_all:
        raise SettingsError(
            f"gradient_accumulation={plan.gradient_accumulation}: there are {of_all} batches in all, none for an update"
        )
    rate = make_learning_rate(plan.learning_rate, plan.learning_rate_schedule, of_all, of_warmup)
    loss, accuracy, top_k_accuracy = loss_and_metrics(plan)
    metrics = [accuracy]
    if model.output_shape[-1] > 10:
        metrics.append(top_k_accuracy(5, name="top_5_accuracy"))
    model.compile(
        optimizer=make_optimizer(
            *(plan.optimizer, rate, plan.weight_decay, plan.gradient_clipping, plan.gradient_accumulation, plan.ema)
        ),
        loss=loss,
        metrics=metrics,
        steps_per_execution=max(1, min(at_once, steps // UPDATES_AN_EPOCH)),
        jit_compile=bool(tf.config.list_physical_devices("GPU")),  # on the processor XLA is 4 times slower than oneDNN
    )
    fuse(model.optimizer)
    fuse_batch_normalization(model)


def loss_and_metrics(plan: FitPlan) -> tuple[keras.losses.Loss, Any, type[keras.metrics.Metric]]:
    """The loss, the accuracy, and the class of top-k accuracy."""
    smoothing = plan.label_smoothing
    if plan.teacher is None:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        return loss, "accuracy", keras.metrics.TopKCategoricalAccuracy
    assert plan.distillation_weight and plan.distillation_temperature
    taught = DistillationLoss(plan.distillation_weight, plan.distillation_temperature, smoothing)
    return taught, AccuracyOfLabels(name="accuracy"), TopKAccuracyOfLabels


def is_over(costs: list[float], epochs: int, patience: int) -> bool:
    """Whether nothing was left to train when the run was interrupted; `costs`: of each epoch, see `cost`."""
    return len(costs) >= epochs or (len(costs) > 1 and len(costs) - 1 - costs.index(min(costs)) >= patience)
