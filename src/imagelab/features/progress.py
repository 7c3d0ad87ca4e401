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
        task, started, done = bar.add_task("", total=total, speed=""), time.perf_counter(), 0

        def advance(images: int) -> None:
            nonlocal done
            speed = (done + images) / (time.perf_counter() - started)
            if not done and images < total and not console.is_terminal:
                say(f"features of {total:,} images: {speed:,.0f} images/s, about {total / speed / 60:.0f} minutes")
            done += images
            bar.update(task, completed=done, speed=f"{speed:,.0f} images/s")

        yield advance
