"""The state of a training on disk: enough to go on from the last complete epoch, to the bit.

    epoch-00007.keras   the compiled network (weights and optimizer) after epoch 7
    best.keras          the network of the best epoch (by `cost`), with the weights that were validated
    mean-00007.npz      the mean of the networks after the last epochs up to 7, where they are averaged
    progress.json       a row an epoch; replacing this file is what completes an epoch

A run may train in phases (a head on frozen features, then the whole network): epochs are counted over all of them, each
row names its phase, and the two networks are what that phase has trained, the head alone or the whole.

What is not in these files (shuffling, augmentation, dropout) is a function of the seed and the epoch, and what the
callbacks remember (patience, best epoch) is read off the rows.
"""

import json
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from imagelab.atomic_files import replace_durably, write_durably

Row = dict[str, Any]
EPOCHS_TO_MEASURE = 2  # which tell how many fit into a time limit: the first alone has compiling in it


def cost(row: Row, monitor: str) -> float:
    """What the best epoch has least of: val_loss, or what val_accuracy lacks."""
    return float(row[monitor] if monitor.endswith("loss") else -row[monitor])


class Checkpoints:
    """Checkpoints below one folder; `monitor` is what chooses the best epoch."""

    are_kept = True  # whether a training can go on from them

    def __init__(self, folder: Path, monitor: str = "val_loss") -> None:
        self.folder, self.monitor = folder, monitor
        folder.mkdir(parents=True, exist_ok=True)
        progress = folder / "progress.json"
        self.rows: list[Row] = json.loads(progress.read_text()) if progress.exists() else []

    @property
    def best_path(self) -> Path:
        return self.folder / "best.keras"

    @property
    def best_row(self) -> Row:
        """The row of the best epoch, the first of equals.

        Raises:
            ValueError: no epoch is complete yet.
        """
        return self.best_of(self.rows)

    def best_of(self, rows: list[Row]) -> Row:
        return min(rows, key=lambda row: cost(row, self.monitor))

    def rows_of(self, phase: str) -> list[Row]:
        return [row for row in self.rows if row["phase"] == phase]

    def is_out_of_time(self, minutes: float | None) -> bool:
        """Whether another epoch, as long as the slowest so far, would end beyond so many minutes; the first never."""
        seconds = [row["epoch_seconds"] for row in self.rows]
        return minutes is not None and bool(seconds) and sum(seconds) + max(seconds) > 60 * minutes

    def epochs_in_time(self, phase: str, minutes: float) -> int:
        """How many epochs a phase can have, as long as its second one, until another would end beyond so many minutes.

        The third one compiles again. A function of rows that stay as they are: a resumed training finds the same.
        """
        rows = self.rows_of(phase)
        if len(rows) < EPOCHS_TO_MEASURE:
            return 1
        first, second = (row["epoch_seconds"] for row in rows[:EPOCHS_TO_MEASURE])
        compiling = max(0.0, first - second)
        before = sum(row["epoch_seconds"] for row in self.rows[: rows[0]["epoch"] - 1])
        left = 60 * minutes - before - first - max(first, second) - compiling
        return max(EPOCHS_TO_MEASURE, EPOCHS_TO_MEASURE + int(left / second))

    def save(self, model: keras.Model, row: Row, averaged: AbstractContextManager[None] | None = None) -> None:
        """Complete an epoch: the network's file first, then the best one's, then the rows; each moved into place.

        Args:
            averaged: inside it the network has the weights that were validated, where those are an average.
        """
        rows = [*self.rows, row]
        path = self.path_of(row["epoch"])
        part = path.with_name(f"part-{path.name}")
        model.save(part)
        replace_durably(part, path)
        if self.best_of(rows) is row:
            self.save_best(model, averaged) if averaged else self.mark_best(path)
        write_durably(self.folder / "progress.json", json.dumps(rows))
        if self.rows:
            self.path_of(self.rows[-1]["epoch"]).unlink(missing_ok=True)
        self.rows = rows

    def restore(self, model: keras.Model, phase: str) -> None:
        """Put weights and optimizer of the phase's last epoch into a freshly compiled network of the same build."""
        if self.rows_of(phase):
            model.optimizer.build(model.trainable_variables)
            model.load_weights(self.path_of(self.rows[-1]["epoch"]))

    def save_mean(self, epoch: int, mean: list[np.ndarray]) -> None:
        """Keep the mean after an epoch beside that of the epoch before, which is the one to go on from until then."""
        path = self.folder / f"mean-{epoch:05d}.npz"
        part = path.with_name(f"part-{path.name}")
        np.savez(part, *mean)
        replace_durably(part, path)
        (self.folder / f"mean-{epoch - 2:05d}.npz").unlink(missing_ok=True)

    def load_mean(self, epoch: int) -> list[np.ndarray]:
        with np.load(self.folder / f"mean-{epoch:05d}.npz") as arrays:
            return [arrays[name] for name in arrays.files]

    def path_of(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:05d}.keras"

    def save_best(self, model: keras.Model, averaged: AbstractContextManager[None]) -> None:
        part = self.folder / "part-best.keras"
        with averaged:
            model.save(part)
        replace_durably(part, self.best_path)

    def mark_best(self, path: Path) -> None:
        part = path.with_name("part-best.keras")
        part.unlink(missing_ok=True)
        try:
            os.link(path, part)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, part)
        part.replace(self.best_path)


class RowsOnly(Checkpoints):
    """The rows of a training that nobody goes on with: its networks are not kept."""

    are_kept = False

    def __init__(self, monitor: str = "val_loss") -> None:
        self.rows, self.monitor = [], monitor

    def save_mean(self, epoch: int, mean: list[np.ndarray]) -> None: ...

    def save(self, model: keras.Model, row: Row, averaged: AbstractContextManager[None] | None = None) -> None:
        self.rows = [*self.rows, row]
