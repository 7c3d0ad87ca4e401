"""What every command does around its work: parse, mind signals, turn errors into one line and an exit code."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel

from imagelab.console import say
from imagelab.errors import ImagelabError, Interrupted, SettingsError
from imagelab.settings import parse

INTERRUPTED = 130  # what shells expect after Ctrl-C
SettingsT = TypeVar("SettingsT", bound=BaseModel)
SAME_INTERRUPTION = 2.0  # seconds: `mlflow run` answers Ctrl-C by a SIGTERM of its own


def command(name: str, kind: type[SettingsT], work: Callable[[SettingsT], str]) -> NoReturn:
    """Run `work` on the settings of the command line, print the line it returns (if any) and exit.

    Exit codes: 0 done; 1 failed, 2 wrong settings, each with its reason in one line on standard error; 130 interrupted.
    """
    try:
        settings = parse(kind, name, sys.argv[1:])
        with interruptible():
            if line := work(settings):
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
    except Interrupted:
        sys.exit(INTERRUPTED)
    except SettingsError as error:
        fail(name, error, 2)
    except ImagelabError as error:
        fail(name, error, 1)
    except Exception as error:
        if os.environ.get("IMAGELAB_TRACEBACK"):
            raise
        fail(name, f"{type(error).__name__}: {error} (IMAGELAB_TRACEBACK=1 shows where)", 1)
    sys.exit(0)


def fail(name: str, error: Any, code: int) -> NoReturn:
    lines = " ".join(str(error).split())
    say(f"{name}: {lines}")
    sys.exit(code)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise `Interrupted`; what follows within two seconds counts as the same one."""
    first = [-SAME_INTERRUPTION]

    def interrupt(number: int, frame: Any) -> None:
        if time.monotonic() - first[0] < SAME_INTERRUPTION:
            return
        first[0] = time.monotonic()
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
