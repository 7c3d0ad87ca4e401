import importlib
import io
from pathlib import Path

import keras
import pytest
from rich.console import Console

from imagelab.console import clock
from imagelab.data import load_dataset
from imagelab.data.dataset import split_validation
from imagelab.models import build_model
from imagelab.training import Checkpoints, train
from imagelab.training.progress import TrainingProgress


def watch(folder: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> str:
    """Train for two epochs before a screen that is a terminal or not; return what it shows."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=80)

    def progress(checkpoints: Checkpoints, phase: str, epochs: int, images: int) -> keras.callbacks.Callback:
        return TrainingProgress(checkpoints, phase, epochs, images, console)

    monkeypatch.setattr(importlib.import_module("imagelab.training.fit"), "TrainingProgress", progress)
    digits = load_dataset("digits")
    fitted, validated = split_validation(digits.train, 0.1, 0)
    model = build_model("basic_ann", digits.image_shape, 10)
    train(model, fitted, validated, Checkpoints(folder), epochs=2, batch_size=64, learning_rate=0.01)
    return screen.getvalue()


def test_a_person_sees_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch(tmp_path, monkeypatch, terminal=True)
    assert "…" not in seen  # everything fits on 80 columns
    for words in ("epoch 1/2", "epoch 2/2", "val_accuracy", "images/s", "left", "val ", "best"):
        assert words in seen


def test_a_log_file_stays_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watch(tmp_path, monkeypatch, terminal=False) == ""


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0.4, 61, 3723)] == ["0:00", "1:01", "1:02:03"]
