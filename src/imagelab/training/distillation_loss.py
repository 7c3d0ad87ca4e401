"""Learning from a teacher's probabilities beside the labels (Hinton et al., 2015): the loss, and scores by the labels.

Targets are float32 (n, 2 * num_classes): one-hot labels, then what the teacher says. Validation images, about which it
is not asked, have the labels alone.
"""

from typing import Any

import keras
from keras import ops

TINY = 1e-7  # the smallest probability that is told from none


@keras.saving.register_keras_serializable("imagelab")
class DistillationLoss(keras.losses.Loss):
    """A share of the divergence from the teacher, both softened by the temperature, and of the usual loss the rest.

    The divergence is multiplied by the temperature's square, which makes its gradient as long as without one.
    """

    def __init__(self, weight: float, temperature: float, label_smoothing: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.weight, self.temperature, self.label_smoothing = weight, temperature, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels, answers = parts_of(y_true, y_pred)
        usual = keras.losses.categorical_crossentropy(labels, y_pred, label_smoothing=self.label_smoothing)
        if not answers.shape[-1]:
            return usual
        teacher, student = self.softened(answers), self.softened(y_pred)
        divergence = ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
        return (1 - self.weight) * usual + self.weight * self.temperature**2 * divergence

    def softened(self, probabilities: Any) -> Any:
        """The logarithms of probabilities, softened."""
        return ops.log_softmax(ops.log(ops.maximum(probabilities, TINY)) / self.temperature)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("weight", "temperature", "label_smoothing")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("imagelab")
class AccuracyOfLabels(keras.metrics.CategoricalAccuracy):
    """Accuracy, whatever the teacher says."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().update_state(parts_of(y_true, y_pred)[0], y_pred, sample_weight)


@keras.saving.register_keras_serializable("imagelab")
class TopKAccuracyOfLabels(keras.metrics.TopKCategoricalAccuracy):
    """Top-k accuracy, whatever the teacher says."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().update_state(parts_of(y_true, y_pred)[0], y_pred, sample_weight)


def parts_of(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Labels, and the teacher's answers, which may have no columns."""
    num_classes = y_pred.shape[-1]
    return y_true[..., :num_classes], y_true[..., num_classes:]
