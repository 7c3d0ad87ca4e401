"""The quota of the feature cache: where it is, how much space it takes and may take, and how it is emptied."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from imagelab.console import command_line, say
from imagelab.data.cache import keras_home
from imagelab.errors import DataError

FOLDER_VARIABLE = "IMAGELAB_FEATURE_CACHE"  # another place than Keras's home
EMPTY_COMMAND = command_line("empty_feature_cache")
GIB = 2**30


def feature_cache_folder() -> Path:
    """IMAGELAB_FEATURE_CACHE, or `features` in Keras's home."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given).expanduser() if given else keras_home() / "features"


def check_capacity(needed: int, feature_cache_limit: float) -> None:
    """Make sure that so many more bytes fit.

    Raises:
        DataError: they would pass the limit, GiB, or the disk has too few; says what to do.
    """
    folder = feature_cache_folder()
    with reporting_write_errors():
        folder.mkdir(parents=True, exist_ok=True)
    held, free = cache_size(), shutil.disk_usage(folder).free
    if held + needed > feature_cache_limit * GIB:
        raise DataError(
            f"the feature cache in {folder} holds {held / GIB:.2f} GiB, and {needed / GIB:.2f} more would pass "
            f"feature_cache_limit={feature_cache_limit:g}. Raise that, or empty the cache: {EMPTY_COMMAND}"
        )
    if needed > free:
        raise DataError(
            f"the features need {needed / GIB:.2f} GiB in {folder}, where {free / GIB:.2f} are free. "
            f"Make room, empty the cache ({EMPTY_COMMAND}), or set {FOLDER_VARIABLE} to a folder elsewhere"
        )


def cache_size() -> int:
    """Bytes that the whole feature cache takes."""
    total = 0
    for path in feature_cache_folder().glob("*/*"):
        with suppress(FileNotFoundError):  # moved into place in this moment
            total += path.stat().st_size
    return total


def empty_feature_cache(settings: object) -> str:
    """The command: it has no settings; return the line that says what came out."""
    return f"{empty_cache() / GIB:.2f} GiB freed in {feature_cache_folder()}"


def empty_cache() -> int:
    """Delete all features but those that a process is filling, which are named; return the bytes freed."""
    before = cache_size()
    for folder in sorted(path for path in feature_cache_folder().glob("[!.]*") if path.is_dir()):
        try:
            with FileLock(folder.parent / f".{folder.name}.lock").acquire(blocking=False):
                shutil.rmtree(folder)
        except Timeout:
            say(f"{folder} is left: a process is filling it")
    return before - cache_size()


@contextmanager
def reporting_write_errors() -> Iterator[None]:
    """Turn what the system says when the cache cannot be written into a DataError that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"the feature cache in {feature_cache_folder()} cannot be written ({reason}); its finished "
            f"shards are kept. Make room, empty it ({EMPTY_COMMAND}), or set {FOLDER_VARIABLE} to a folder elsewhere"
        ) from error
