"""Every live bar or table and every line of progress, on standard error: elsewhere than on a terminal only lines."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from imagelab.console import say

FIRST_LINE, BETWEEN_LINES = 5.0, 30.0  # seconds until the first line, and from one to the next
LEAST_MEASURED = 1.0  # seconds over which the speed in a line is measured
BETWEEN_REFRESHES = 0.1  # seconds from one state of the bar to the next
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")

Clock = Callable[[], float]
Row = Mapping[str, Any]  # figures of an epoch


class Display:
    """Shows how far some work is: something live on a terminal, elsewhere a line now and then.

    Entered as a context, so that the terminal is put right whatever ends the work.
    """

    def __init__(self, clock: Clock = time.monotonic, first_line: float = FIRST_LINE) -> None:
        """Take the seconds until the first line."""
        self.clock = clock
        self.console = Console(stderr=True, force_terminal=sys.stderr.isatty())  # FORCE_COLOR is about colours only
        self.is_live = self.console.is_terminal and not self.console.is_dumb_terminal
        columns = (TextColumn("{task.description}"), BarColumn(10), MofNCompleteColumn())
        self.live = Live(console=self.console, transient=True, auto_refresh=False)
        self.bar = Progress(*columns, TextColumn("{task.fields[text]}"))
        self.task = self.bar.add_task("", total=None, text="")
        self.has_spoken, self.due = False, clock() + first_line

    def __enter__(self) -> Self:
        if self.is_live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()

    def draw(self, live: RenderableType) -> None:
        """Let a terminal show this, until something else is drawn or the work ends."""
        self.live.update(live, refresh=True)

    def show(self, title: str, done: int, total: int, unit: str, text: str, at_once: bool = False) -> None:
        """Show the newest state, unless the last one is only just shown.

        Args:
            unit: what is counted, in the plural.
            text: speed and the like; empty while nothing is known, which makes no line.
            at_once: show it on the bar in any case.
        """
        now = self.clock()
        if self.is_live and (at_once or now >= self.due):
            self.bar.update(self.task, description=title, completed=done, total=total, text=text)
            self.draw(self.bar)
            self.due = now + BETWEEN_REFRESHES
        elif not self.is_live and text and now >= self.due:
            self.say(f"{title}  {done:,} of {total:,} {unit}  {text}")

    def say(self, line: str, markup: bool = False) -> None:
        """Print a line that stays, above what is live; with `markup` its [colours] are Rich's."""
        if self.is_live:
            self.console.print(line, highlight=False, soft_wrap=True, markup=markup)
            return
        say(line)
        self.has_spoken, self.due = True, self.clock() + BETWEEN_LINES


class Speed:
    """Units a second since a moment; without one since the first report, by when the network was compiled."""

    def __init__(self, since: float | None = None) -> None:
        self.since, self.done_before = since, 0

    def measure(self, now: float, done: int) -> float:
        """The speed when `done` units are done in all; 0.0 where it is not known yet."""
        if self.since is None:
            self.since, self.done_before = now, done
        seconds = now - self.since
        return (done - self.done_before) / seconds if seconds > 0 else 0.0


@contextmanager
def images_progress(
    total: int, title: str, done: int = 0, clock: Clock = time.monotonic
) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` images are done, how fast they go and how long the rest takes.

    Args:
        done: images that were done before.

    Yields:
        A function to be told how many more images are done.
    """
    speed, rate = Speed(), 0.0
    with Display(clock) as display:

        def advance(images: int) -> None:
            nonlocal done, rate
            done += images
            rate = speed.measure(clock(), done) if images else rate
            text = f"{rate:,.0f} images/s  {in_words((total - done) / rate)} left" if rate else ""
            if done < total or display.is_live:
                display.show(title, done, total, "images", text)

        display.show(title, done, total, "images", "", at_once=True)
        yield advance
        if display.has_spoken:
            display.say(f"{title}  {done:,} of {total:,} images  {rate:,.0f} images/s")


class EpochProgress:
    """A training, epoch after epoch: on a terminal a bar below a short line an epoch, elsewhere full lines.

    The time left counts all epochs that are left, with their validation and checkpoints, at the pace of this process.
    """

    def __init__(self, epochs: int, images: int, phase: str = "train", clock: Clock = time.monotonic) -> None:
        """Take the number of the last epoch, and how many images an epoch has."""
        self.epochs, self.images, self.clock = epochs, images, clock
        self.in_phase = "" if phase == "train" else f" in {phase}"  # whose epochs the time left counts
        self.display = Display(clock)
        self.epoch = self.steps = 0
        self.started = self.rate = 0.0  # when this epoch began; batches a second, 0.0 where not known yet
        self.speed, self.scores = Speed(), ""
        self.seconds: list[float] = []  # that each epoch of this process took

    def __enter__(self) -> Self:
        self.display.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.display.__exit__(*error)

    def begin_epoch(self, epoch: int, steps: int) -> None:
        """Epoch number `epoch`, counted from 1 over all phases, begins; it has so many batches."""
        self.epoch, self.steps, self.rate, self.started = epoch, steps, 0.0, self.clock()
        self.speed = Speed(self.started) if self.seconds else Speed()
        self.display.show(self.title, 0, steps, "batches", self.scores, at_once=True)

    def update(self, batches: int) -> None:
        """So many batches of this epoch are done."""
        now, text = self.clock(), ""
        self.rate = self.speed.measure(now, batches)
        if self.rate and (self.display.is_live or now - (self.speed.since or now) >= LEAST_MEASURED):
            left = in_words(self.seconds_left(now, batches))
            text = f"{self.rate * self.images / self.steps:,.0f} images/s  {left} left{self.in_phase}"
        if self.display.is_live:
            text = f"{text}  {self.scores}"
        self.display.show(self.title, batches, self.steps, "batches", text, at_once=batches >= self.steps)

    def end_epoch(self, row: Row, best: Row) -> None:
        """The epoch is complete, its checkpoint saved.

        Args:
            row: its number, its figures and `images_per_second`.
            best: the row of the best epoch so far.
        """
        self.seconds.append(self.seconds_of_epoch(self.clock()))
        self.scores = f"val {row['val_accuracy']:.1%}, best {best['val_accuracy']:.1%}"
        if self.display.is_live:
            self.display.say(short_line(row, self.epochs, best), markup=True)
        else:
            left = in_words((self.epochs - self.epoch) * self.seconds_an_epoch())
            self.display.say(f"{full_line(row, self.epochs)}  {left} left{self.in_phase}")

    @property
    def title(self) -> str:
        return f"epoch {self.epoch}/{self.epochs}"

    def seconds_left(self, now: float, batches: int) -> float:
        """Of this epoch and those after it, when so many batches are done."""
        left, an_epoch = (self.steps - batches) / self.rate, self.steps / self.rate
        if self.seconds:
            an_epoch = self.seconds_an_epoch()
            left = max(left, an_epoch - (now - self.started))
        return left + (self.epochs - self.epoch) * an_epoch

    def seconds_an_epoch(self) -> float:
        """The mean of the last three."""
        recent = self.seconds[-3:]
        return sum(recent) / len(recent)

    def seconds_of_epoch(self, now: float) -> float:
        """What this epoch took, for the first one without the seconds in which the network was compiled."""
        if not self.rate or self.speed.since is None:
            return now - self.started
        return now - self.speed.since + self.speed.done_before / self.rate


def full_line(row: Row, epochs: int) -> str:
    """One line about one complete epoch, for a log."""
    figures = "  ".join(f"{name} {row[name]:.4f}" for name in CURVES)
    return f"epoch {row['epoch']}/{epochs}  {figures}  {row['images_per_second']:,.0f} images/s"


def short_line(row: Row, epochs: int, best: Row) -> str:
    """One line about one complete epoch, for a terminal: 80 characters at most."""
    mark = " [green]best[/green]" if best["epoch"] == row["epoch"] else ""
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}  loss {row['loss']:.3f}  val_loss {row['val_loss']:.3f}  "
        f"val_accuracy {row['val_accuracy']:.2%}  {row['images_per_second']:,.0f} images/s{mark}"
    )


def in_words(seconds: float) -> str:
    """A time as one says it: 40 s, 4 min, 1 h 20 min."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"
