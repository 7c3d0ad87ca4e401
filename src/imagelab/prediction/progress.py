"""What a person watches while images are classified: a live bar on a terminal, elsewhere a line now and then."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from imagelab.console import clock, say

PAUSE = 30.0  # seconds between two lines


class PredictionProgress:
    """Images that are done; the caller enters it, so that the terminal is put right whatever happens."""

    def __init__(self, total: int, done: int, console: Console | None = None) -> None:
        self.total, self.done = total, done
        self.console = console or Console(stderr=True)
        columns = (TextColumn("images"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("", total=total, completed=done, speed="")
        self.first: tuple[float, int] | None = None  # when the network was warm, and what was done by then
        self.said = time.monotonic()

    def __enter__(self) -> "PredictionProgress":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def update(self, done: int) -> None:
        """So many images are done in all."""
        if done == self.done:
            return
        self.done, now = done, time.monotonic()
        if self.first is None:
            self.first = now, done
        speed = self.speed(now)
        self.bar.update(self.task, completed=done, speed=speed)
        if speed and done < self.total and not self.console.is_terminal and now - self.said > PAUSE:
            self.said = now
            say(f"{done:,} of {self.total:,} images  {speed}")

    def speed(self, now: float) -> str:
        assert self.first is not None
        seconds, images = now - self.first[0], self.done - self.first[1]
        if not images or not seconds:
            return ""
        return f"{images / seconds:,.0f} images/s  {clock((self.total - self.done) * seconds / images)} left"
