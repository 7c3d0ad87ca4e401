"""The curve of each schedule."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from imagelab.training.schedules import make_learning_rate, plateau_rate


def curve(schedule: str, warmup: int = 0, steps: int = 100) -> np.ndarray:
    rate: Any = make_learning_rate(0.1, schedule, steps, warmup)
    return np.array([float(rate(step)) if callable(rate) else rate for step in range(steps + 1)])


def test_constant_cosine_and_linear() -> None:
    at = np.arange(101) / 100
    np.testing.assert_allclose(curve("constant"), 0.1)
    np.testing.assert_allclose(curve("cosine"), 0.05 * (1 + np.cos(np.pi * at)), atol=1e-7)
    np.testing.assert_allclose(curve("linear"), 0.1 * (1 - at), atol=1e-7)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_a_warmup_rises_from_zero_to_the_peak_and_the_schedule_follows(schedule: str) -> None:
    rates = curve(schedule, warmup=20)
    np.testing.assert_allclose(rates[:20], 0.1 * np.arange(1, 21) / 20, rtol=1e-6)
    np.testing.assert_allclose(rates[20:], curve(schedule, steps=80), atol=1e-7)


def test_one_cycle_goes_up_once_and_down_once() -> None:
    rates = curve("one_cycle")
    assert rates.argmax() == 30
    assert rates[0] == pytest.approx(0.1 / 25)
    assert rates.max() == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.1 / 250_000, rel=1e-3)
    assert (np.diff(rates[:31]) > 0).all()
    assert (np.diff(rates[30:]) < 0).all()
    assert curve("one_cycle", warmup=10).argmax() == 10


@pytest.mark.parametrize("seed", range(20))
def test_plateau_is_keras_reduce_lr_on_plateau(seed: int) -> None:
    losses = np.random.default_rng(seed).normal(0, 0.2, 30) + np.linspace(1, 0.6, 30)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1))
    theirs = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=3, min_lr=1e-7)
    theirs.set_model(model)
    theirs.on_train_begin()
    for epoch, loss in enumerate(losses):
        assert plateau_rate(0.1, losses[:epoch].tolist()) == pytest.approx(float(model.optimizer.learning_rate))
        theirs.on_epoch_end(epoch, {"val_loss": loss})


def test_plateau_has_a_floor_and_a_warmup() -> None:
    assert plateau_rate(1e-6, [1.0] * 100) == 1e-7
    assert [plateau_rate(0.1, [1.0] * epochs, 3) for epochs in range(4)] == pytest.approx([0.025, 0.05, 0.075, 0.1])


LOAD = """
import sys, keras
print(keras.saving.load_model(sys.argv[1], compile=False).count_params())
assert not any(name.startswith("imagelab") for name in sys.modules)
"""


def test_a_network_with_a_warmup_is_loaded_without_this_package_if_not_compiled(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(make_learning_rate(0.1, "linear", 100, 10)))
    model.save(tmp_path / "model.keras")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "model.keras")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1] == "2"
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert float(again.optimizer.learning_rate) == pytest.approx(0.01)
