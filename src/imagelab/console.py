"""What a command says to the person who waits: standard error, so that results on standard output can be piped."""

import os
import sys
from typing import TextIO


def say(line: str) -> None:
    write(line, sys.stderr)


def show(line: str) -> None:
    """Print a result, on standard output."""
    write(line, sys.stdout)


def write(line: str, stream: TextIO) -> None:
    """Print a line at once. That nobody reads any more (`| head -1`) is no reason to fail: then nothing is said."""
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def clock(seconds: float) -> str:
    """A time as minutes:seconds, or hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
