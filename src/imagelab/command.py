"""What every command does around its work: parse, mind signals, turn errors into one line and an exit code."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel

from imagelab.console import say, show
from imagelab.errors import ImagelabError, Interrupted, SettingsError, unswallowed
from imagelab.settings import parse

INTERRUPTED = 130  # what shells expect after Ctrl-C
SettingsT = TypeVar("SettingsT", bound=BaseModel)
SAME_INTERRUPTION = 2.0  # seconds: `mlflow run` answers Ctrl-C by a SIGTERM of its own
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def command(name: str, kind: type[SettingsT], work: Callable[[SettingsT], str]) -> NoReturn:
    """Run `work` on the settings of the command line, print the line it returns (if any) and exit.

    Exit codes: 0 done; 1 failed, 2 wrong settings, each with its reason in one line on standard error; 130 interrupted.
    """
    try:
        with interruptible(), unswallowed():
            if line := work(parse(kind, name, sys.argv[1:])):
                show(line)
    except Interrupted:
        leave_wrapper("KILLED")
        sys.exit(INTERRUPTED)
    except SystemExit:  # after --help
        leave_wrapper("delete")
        raise
    except SettingsError as error:
        leave_wrapper("delete")
        fail(name, str(error), 2)
    except ImagelabError as error:
        fail(name, str(error), 1)
    except Exception as error:
        if os.environ.get("IMAGELAB_TRACEBACK"):
            raise
        what = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
        fail(name, f"{what} (IMAGELAB_TRACEBACK=1 shows where)", 1)
    sys.exit(0)


def fail(name: str, reason: str, code: int) -> NoReturn:
    say(f"{name}: {' '.join(reason.split())}")
    sys.exit(code)


def leave_wrapper(wish: str) -> None:
    """Let the run that `mlflow run` has opened be KILLED or deleted, if the work has not begun to use it."""
    if os.environ.get("MLFLOW_RUN_ID"):
        from imagelab.tracking import leave_wrapper as leave

        leave(wish)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise `Interrupted`; what follows within two seconds counts as the same one.

    The end of the `mlflow run` above counts as SIGTERM.
    """
    interruption = Interruption(hook := sys.unraisablehook)
    handlers = {number: signal.signal(number, interruption.take) for number in SIGNALS}
    sys.unraisablehook = interruption.notice_lost
    try:
        if os.environ.get("MLFLOW_RUN_ID"):
            from imagelab.tracking import end_with_mlflow_run

            end_with_mlflow_run(interruption.ask)
        yield
    finally:
        interruption.over = True
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Interruption:
    """What has come of Ctrl-C and SIGTERM so far.

    Attributes:
        taken: when the newest one was raised.
        hook: what else hears of errors that could not be raised.
        over: whether nobody is left to interrupt.
    """

    def __init__(self, hook: Callable[[Any], Any]) -> None:
        self.hook = hook
        self.taken, self.over = -SAME_INTERRUPTION, False

    def take(self, number: int, frame: Any) -> None:
        if time.monotonic() - self.taken >= SAME_INTERRUPTION:
            self.taken = time.monotonic()
            raise Interrupted(signal.Signals(number).name)

    def ask(self) -> None:
        """Send this process a SIGTERM, unless it was interrupted already."""
        if self.taken < 0 and not self.over:
            os.kill(os.getpid(), signal.SIGTERM)

    def notice_lost(self, unraisable: Any) -> None:
        """Interrupt again, a moment later, where Python could not raise it: in a `__del__` or a weakref's callback."""
        if not isinstance(unraisable.exc_value, Interrupted):
            self.hook(unraisable)
            return
        self.taken = -SAME_INTERRUPTION
        again = threading.Timer(0.05, self.repeat, [signal.Signals[str(unraisable.exc_value)]])
        again.daemon = True
        again.start()

    def repeat(self, number: int) -> None:
        if not self.over:
            os.kill(os.getpid(), number)
