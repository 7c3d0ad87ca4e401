"""What a command says to the person who waits: standard error, so that results on standard output can be piped."""

import sys


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
