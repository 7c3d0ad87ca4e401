"""What a person watches while features are computed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from imagelab.console import say


@contextmanager
def bar_of_images(total: int) -> Iterator[Callable[[int], None]]:
    """A live bar on a terminal, elsewhere one line that says how long it will take.

    Yields a function to be told how many more images are done.
    """
    console = Console()
    columns = (TextColumn("features"), BarColumn(10), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task, done = bar.add_task("", total=total, speed=""), 0
        times: list[float] = []

        def advance(images: int) -> None:
            nonlocal done
            done += images
            times.append(time.perf_counter())
            if len(times) == 1:  # these waited for the network to be compiled
                bar.update(task, completed=done)
                return
            speed = images * (len(times) - 1) / (times[-1] - times[0])
            if len(times) == 2 and done < total and not console.is_terminal:
                left = (total - done) / speed
                say(f"features of {total:,} images: {speed:,.0f} images/s, about {left / 60:.1f} minutes left")
            bar.update(task, completed=done, speed=f"{speed:,.0f} images/s")

        yield advance
