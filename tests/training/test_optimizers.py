"""What each optimiser, and what goes with any, does to a weight."""

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from imagelab.settings import ExperimentSettings
from imagelab.training.optimizers import OPTIMIZERS, fuse, make_optimizer
from imagelab.training.regularization import balanced_weights, penalize_kernels


def stepped(
    name: str, gradients: list[float], start: float = 1.0, called: str = "kernel", **options: Any
) -> list[float]:
    """A weight after each step with these gradients."""
    optimizer = make_optimizer(name, 0.1, **options)
    fuse(optimizer)
    weight, values = keras.Variable([start], name=called), []
    for gradient in gradients:
        optimizer.apply([tf.constant([gradient])], [weight])
        values.append(float(weight.numpy()[0]))
    return values


def test_the_first_steps_by_hand() -> None:
    assert stepped("adam", [3.0]) == pytest.approx([0.9])
    assert stepped("sgd", [1.0, 1.0]) == pytest.approx([1 - 0.19, 1 - 0.19 - 0.271])  # Nesterov: rate (g + 0.9 v)
    assert stepped("lion", [3.0, -0.001]) == pytest.approx([0.9, 0.8])  # the sign alone counts


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_takes_a_share_of_kernels_and_nothing_of_biases(name: str) -> None:
    plain, decayed = (stepped(name, [1.0], weight_decay=share)[0] for share in (0.0, 0.5))
    assert plain - decayed == pytest.approx(0.1 * 0.5 * 1.0, rel=1e-4)
    for called in ("bias", "gamma", "beta"):
        assert stepped(name, [1.0], called=called, weight_decay=0.5)[0] == pytest.approx(plain)


def test_adamw_decays_by_itself() -> None:
    assert stepped("adamw", [1.0])[0] == pytest.approx(0.9 - 0.1 * 0.004)
    assert stepped("adam", [1.0]) == stepped("adamw", [1.0], weight_decay=0.0)


def test_a_gradient_is_shortened_to_the_length_allowed() -> None:
    free, clipped = (stepped("sgd", [10.0], gradient_clipping=length)[0] for length in (0.0, 2.0))
    assert 1 - free == pytest.approx(5 * (1 - clipped))
    assert stepped("sgd", [1.0], gradient_clipping=2.0) == stepped("sgd", [1.0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_accumulated_gradients_make_one_update_with_their_mean(name: str) -> None:
    values = stepped(name, [1.0, 3.0, 2.0, 2.0], gradient_accumulation=2)
    assert values[0] == 1.0
    assert values[2] == values[1]
    assert [values[1], values[3]] == pytest.approx(stepped(name, [2.0, 2.0]))


def test_the_penalty_is_the_sum_of_squares_of_kernels_that_are_trained() -> None:
    dense = [keras.layers.Dense(3, name=name) for name in ("frozen", "trained")]
    model = keras.Sequential([keras.Input((2,)), dense[0], keras.layers.BatchNormalization(), dense[1]])
    dense[0].trainable = False
    penalize_kernels(model, 0.5)
    assert float(sum(model.losses)) == pytest.approx(0.5 * float(np.sum(np.square(dense[1].kernel.numpy()))), rel=1e-5)


def test_the_penalty_reaches_kernels_inside_attention() -> None:
    queries = keras.Input((5, 4))
    model = keras.Model(queries, keras.layers.MultiHeadAttention(2, 3)(queries, queries))
    penalize_kernels(model, 0.5)
    assert len(model.losses) == 4  # query, key, value and output


def test_the_table_has_what_the_setting_takes() -> None:
    annotation = str(ExperimentSettings.model_fields["optimizer"].annotation)
    assert re.findall(r"'(\w+)'", annotation) == list(OPTIMIZERS)


def test_balanced_classes_weigh_the_same_in_all() -> None:
    labels = np.repeat([0, 1, 3], [60, 30, 10])
    weights = balanced_weights(labels, 4)
    assert [weights[label] * count for label, count in ((0, 60), (1, 30), (3, 10))] == pytest.approx([25, 25, 25])
