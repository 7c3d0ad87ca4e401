"""Ctrl-C and SIGTERM, and the end of the `mlflow run` above, as one exception: `Interrupted`."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from imagelab.errors import Interrupted

INTERRUPTED = 130  # the exit code that shells expect after Ctrl-C
SAME_INTERRUPTION = 2.0  # seconds: `mlflow run` answers Ctrl-C by a SIGTERM of its own
SIGNALS = (signal.SIGINT, signal.SIGTERM)
CURRENT: list["Interruption"] = []  # the newest one last


@contextmanager
def interruptible() -> "Iterator[Interruption]":
    """Let Ctrl-C and SIGTERM raise `Interrupted`; what follows within two seconds counts as the same one."""
    interruption = Interruption(hook := sys.unraisablehook)
    CURRENT.append(interruption)
    handlers = {number: signal.signal(number, interruption.on_signal) for number in SIGNALS}
    sys.unraisablehook = interruption.on_unraisable
    try:
        yield interruption
    finally:
        interruption.over = True
        CURRENT.remove(interruption)
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[Callable[[], None]]:
    """Let an interruption wait for the end of this block, which takes seconds at most.

    For requests to a database in this process: one that is cut in two leaves a transaction open, and the database
    locked for everybody, as long as the exception is looked at. And for what must not be lost between its creation and
    the `try` that looks after it.

    Yields:
        A function that lets interruptions come before the block ends.
    """
    with ExitStack() as block:
        if CURRENT and threading.current_thread() is threading.main_thread():
            block.callback(CURRENT[-1].hold())
        yield block.close


class Interruption:
    """Raises signals as `Interrupted`.

    Attributes:
        last: when the newest one was raised (monotonic clock).
        held: how many blocks are under way in which nothing is raised.
        waiting: a signal that came in one of them.
        hook: Python's own handler of errors that could not be raised.
        over: whether nothing is left to interrupt.
    """

    def __init__(self, hook: Callable[[Any], Any]) -> None:
        self.hook = hook
        self.last, self.over = -SAME_INTERRUPTION, False
        self.held = 0
        self.waiting: int | None = None

    def on_signal(self, number: int, frame: Any) -> None:
        if time.monotonic() - self.last < SAME_INTERRUPTION:
            return
        if self.held:
            self.waiting = number
        else:
            self.interrupt(number)

    def hold(self) -> Callable[[], None]:
        """Raise nothing until the function that is returned is called."""
        self.held += 1
        return self.release

    def release(self) -> None:
        self.held -= 1
        if not self.held and self.waiting is not None:
            self.interrupt(self.waiting)

    def interrupt(self, number: int) -> None:
        self.last, self.waiting = time.monotonic(), None
        raise Interrupted(signal.Signals(number).name)

    def terminate(self) -> None:
        """Send this process a SIGTERM, unless it was interrupted already."""
        if self.last < 0 and not self.over:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_unraisable(self, unraisable: Any) -> None:
        """Interrupt again, a moment later, where Python could not raise it: in a `__del__` or a weakref's callback."""
        if not isinstance(unraisable.exc_value, Interrupted):
            self.hook(unraisable)
            return
        self.last = -SAME_INTERRUPTION
        again = threading.Timer(0.05, self.repeat, [signal.Signals[str(unraisable.exc_value)]])
        again.daemon = True
        again.start()

    def repeat(self, number: int) -> None:
        if not self.over:
            os.kill(os.getpid(), number)
