"""What a command says to the person who waits: standard error, so that results on standard output can be piped."""

import os
import shlex
import sys
from typing import Any, TextIO


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


def how_many(number: int, thing: str) -> str:
    """A number of things: 1 run, 2 runs."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """The text with what would break a line or steer a terminal written as its escape sequence."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def command_line(command: str, dataset: str | None = None, model: str | None = None, **settings: Any) -> str:
    """A command, to be typed as it is; what is None is left out."""
    named = {"dataset": dataset, "model": model, **settings}
    words = [f"-P {name}={shlex.quote(str(value))}" for name, value in named.items() if value is not None]
    return " ".join([f"mlflow run . -e {command} --env-manager local", *words])
