"""A network made ready to be trained as a plan says: its optimiser, loss and metrics, with fused kernels."""

from typing import Any

import keras
import tensorflow as tf

from imagelab.errors import SettingsError
from imagelab.training.distillation_loss import AccuracyOfLabels, DistillationLoss, TopKAccuracyOfLabels
from imagelab.training.fused_kernels import fuse_batch_normalization
from imagelab.training.optimizers import fuse, make_optimizer
from imagelab.training.plan import FitPlan
from imagelab.training.regularization import penalize_kernels
from imagelab.training.schedules import make_learning_rate

UPDATES_AN_EPOCH = 20  # of the progress bar; in between, TensorFlow runs steps without coming back to Python
MOST_STEPS_PER_EXECUTION = 32


def compile_model(model: keras.Model, plan: FitPlan, steps: int, at_once: int = MOST_STEPS_PER_EXECUTION) -> None:
    """Compile for `steps` steps an epoch, with fused kernels for Adam and batch normalisation.

    Args:
        at_once: most steps that TensorFlow runs without coming back to Python.
    """
    if plan.l2:
        penalize_kernels(model, plan.l2)
    of_all, of_warmup = (epochs * steps for epochs in (plan.epochs, plan.warmup_epochs))
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


def refuse_no_update(plan: FitPlan, batches: int) -> None:
    """Refuse a training that is over before its first update.

    Raises:
        SettingsError: with the number of batches.
    """
    if plan.gradient_accumulation > batches:
        raise SettingsError(
            f"gradient_accumulation={plan.gradient_accumulation}: there are {batches} batches in all, "
            "none for an update"
        )


def loss_and_metrics(plan: FitPlan) -> tuple[keras.losses.Loss, Any, type[keras.metrics.Metric]]:
    """The loss, the accuracy, and the class of top-k accuracy."""
    smoothing = plan.label_smoothing
    if plan.teacher is None:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        return loss, "accuracy", keras.metrics.TopKCategoricalAccuracy
    assert plan.distillation_weight and plan.distillation_temperature
    taught = DistillationLoss(plan.distillation_weight, plan.distillation_temperature, smoothing)
    return taught, AccuracyOfLabels(name="accuracy"), TopKAccuracyOfLabels
