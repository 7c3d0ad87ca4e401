"""What a person sees of a training: before a real terminal, and in a log."""

import os
import pty
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagelab.models import build_model
from imagelab.training import Checkpoints
from imagelab.training.loop import train
from tests.training.plans import DIGITS, SPLITS, make_plan


def train_two_epochs(folder: Path, phase: str = "train", epochs: int = 2) -> None:
    model = build_model("basic_ann", DIGITS.image_shape, 10)
    train(model, SPLITS, Checkpoints(folder), make_plan(epochs=epochs), phase)


@contextmanager
def terminal_as_standard_error(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A pseudo-terminal; gives what was written to it, in pieces, once it is closed."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    seen: list[bytes] = []
    screen, end = pty.openpty()
    reader = threading.Thread(target=read_to_end, args=(screen, seen))
    reader.start()
    with monkeypatch.context() as patch, os.fdopen(end, "w") as stream:
        patch.setattr(sys, "stderr", stream)
        yield seen
    reader.join()
    os.close(screen)


def read_to_end(screen: int, seen: list[bytes]) -> None:
    try:
        while piece := os.read(screen, 65_536):
            seen.append(piece)
    except OSError:  # how Linux says that the other end is closed
        pass


def test_a_person_sees_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal_as_standard_error(monkeypatch) as pieces:
        train_two_epochs(tmp_path)
    seen = b"".join(pieces).decode()
    assert "…" not in seen  # everything fits on 80 columns
    for words in ("epoch 1/2", "epoch 2/2", "21/21", "val_accuracy", "images/s", " left", "val ", "best"):
        assert words in seen, words
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again


def test_a_log_gets_a_line_an_epoch(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_two_epochs(tmp_path, "head")
    train_two_epochs(tmp_path, "fine_tune", 1)
    output, errors = capfd.readouterr()
    assert output == ""
    lines = [
        line for line in errors.splitlines() if line.startswith("epoch ") and "  loss " in line
    ]  # a slow epoch has others
    assert [line.split()[1] for line in lines] == ["1/2", "2/2", "3/3"]
    for line, row in zip(lines, Checkpoints(tmp_path).rows, strict=True):
        assert f"  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  val_loss {row['val_loss']:.4f}  " in line
        assert line.endswith(f" left in {row['phase']}")
