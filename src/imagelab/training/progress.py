"""What a person watches while a network trains; nothing where the output is no terminal."""

import time

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from imagelab.console import clock
from imagelab.training.checkpoints import Checkpoints, Row

Logs = dict[str, float] | None


class TrainingProgress(keras.callbacks.Callback):
    """A live bar for the epoch (step, images a second, time left) above which each complete epoch leaves a line.

    The caller enters `bar`, so that the terminal is put right whatever ends the training.
    """

    def __init__(
        self, checkpoints: Checkpoints, phase: str, epochs: int, images: int, console: Console | None = None
    ) -> None:
        super().__init__()
        self.console = console or Console()
        self.checkpoints, self.phase, self.epochs, self.images = checkpoints, phase, epochs, images
        columns = (
            TextColumn("{task.description}"),
            BarColumn(10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[say]}"),
        )
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("", total=None, say="")
        self.epoch_started = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch_started = time.perf_counter()
        phase = "" if self.phase == "train" else f"{self.phase} "
        title = f"{phase}epoch {epoch + 1}/{self.epochs}"
        self.bar.reset(self.task, total=self.params["steps"], description=title, say=self.scores())

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        done = min(batch + 1, self.params["steps"])
        seconds = time.perf_counter() - self.epoch_started
        share = done / self.params["steps"]
        epochs_left = self.epochs - len(self.checkpoints.rows) - share
        left = epochs_left * self.seconds_an_epoch(seconds / share)
        say = f"{share * self.images / seconds:,.0f} images/s  {clock(left)} left  {self.scores()}"
        self.bar.update(self.task, completed=done, say=say)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.console.is_terminal and self.checkpoints.rows:
            self.bar.console.print(
                describe(self.checkpoints.rows[-1], self.epochs, self.checkpoints.best_row), highlight=False
            )

    def seconds_an_epoch(self, guess: float) -> float:
        recent = [row["epoch_seconds"] for row in self.checkpoints.rows_of(self.phase)[-3:]]
        return sum(recent) / len(recent) if recent else guess

    def scores(self) -> str:
        if not self.checkpoints.rows:
            return ""
        best = self.checkpoints.best_row
        current = self.checkpoints.rows[-1]["val_accuracy"]
        return f"val {current:.1%}, best {best['val_accuracy']:.1%}"


def describe(row: Row, epochs: int, best: Row) -> str:
    """One line about one complete epoch, 80 characters at most."""
    mark = " [green]best[/green]" if best["epoch"] == row["epoch"] else ""
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}  loss {row['loss']:.3f}  val_loss {row['val_loss']:.3f}  "
        f"val_accuracy {row['val_accuracy']:.2%}  {row['images_per_second']:,.0f} images/s{mark}"
    )
