"""The `mlflow run` above this process, and the folder in which it was typed."""

import os
import re
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path

import psutil


@cache  # a later look would not find an `mlflow run` that has died
def find_mlflow_run() -> tuple[psutil.Process, psutil.Process]:
    """The child on the way to here and the nearest ancestor that is `mlflow run`; else this process and its parent."""
    chain = [psutil.Process(), *psutil.Process().parents()]
    return next(((child, above) for child, above in pairwise(chain) if is_mlflow(above)), (chain[0], chain[1]))


def is_mlflow(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
        return "mlflow" in (Path(word).name for word in words[:3]) and "run" in words
    except psutil.Error:
        return False


def was_typed(name: str) -> bool:
    """Whether the default of a setting was typed, and not filled in by MLproject."""
    if not os.environ.get("MLFLOW_RUN_ID"):
        return True
    above = find_mlflow_run()[1]
    given = re.compile(rf"(-P|--param-list=)?{name}=")
    return is_mlflow(above) and any(given.match(word) for word in above.cmdline())


def from_folder_typed_in(path: Path) -> Path:
    """A path that a user has typed, as it is from here; `mlflow run` starts its child in the project's folder."""
    with suppress(RuntimeError):  # of a user that this machine does not have: then it is a name like any other
        path = path.expanduser()
    if not os.environ.get("MLFLOW_RUN_ID") or path.is_absolute():
        return path
    above = find_mlflow_run()[1]
    try:
        folder = Path(above.cwd()) if is_mlflow(above) else Path.cwd()
    except psutil.Error:
        return path
    return path if folder == Path.cwd() else folder / path
