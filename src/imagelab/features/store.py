"""The feature cache on disk: shards that are there whole or not at all, read through memory maps.

    features/<key>/description.json    what the key stands for: everything that the features depend on
    features/<key>/00012.npy           features of the images 12 * SHARD and on, (SHARD, length)
    features/<key>/seconds.json        how long each shard took
    features/.<key>.lock               held by the process that fills the folder; others wait, then find it full

One process after another goes on where the last one stopped.
"""

import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from imagelab.console import say
from imagelab.data.cache import cache_folder, filling
from imagelab.errors import DataError
from imagelab.features.progress import bar_of_images
from imagelab.files import replace_durably, write_durably

FORMAT = 1  # to be raised when shards are made in another way
SHARD = 500  # images
FOLDER_VARIABLE = "IMAGELAB_FEATURE_CACHE"  # another place than Keras's home
EMPTY = "mlflow run . -e empty_feature_cache --env-manager local"
GIB = 2**30

Shards = dict[int, np.ndarray]


@dataclass
class Spent:
    """Seconds that computing features took, and seconds that finding them in the cache has saved."""

    computing: float = 0.0
    saved: float = 0.0


def feature_cache_folder() -> Path:
    """IMAGELAB_FEATURE_CACHE, or `features` in Keras's home."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given).expanduser() if given else cache_folder().parent / "features"


def load_or_compute(
    description: Mapping[str, Any],
    sizes: Sequence[int],
    compute: Callable[[int], np.ndarray],
    feature_cache_limit: float,
    spent: Spent,
) -> Shards:
    """The shards of one set of features, memory-mapped, from the cache as far as it has them.

    Args:
        description: everything that the features depend on, as plain values.
        sizes: the number of images of each shard that is wanted.
        compute: gives the features of shard `number`, (sizes[number], length).
        feature_cache_limit: GiB that the whole cache may take.
        spent: is added to.

    Raises:
        DataError: the cache would grow over its limit, or the disk is full; what was finished is kept.
    """
    folder = feature_cache_folder() / key_of(description)
    with storing(folder), filling(folder):
        folder.mkdir(exist_ok=True)
        write_durably(folder / "description.json", json.dumps(description, indent=2))
        seconds = read_seconds(folder)
        shards = {
            number: shard
            for number, size in enumerate(sizes)
            if (shard := open_shard(folder, number, size)) is not None
        }
        spent.saved += sum(seconds.get(number, 0.0) for number in shards)
        missing = [number for number in range(len(sizes)) if number not in shards]
        with bar_of_images(sum(sizes[number] for number in missing)) as advance:
            for number in missing:
                started = time.perf_counter()
                computed = compute(number)
                if number == missing[0]:
                    make_sure_of_room(len(missing) * computed.nbytes, feature_cache_limit)
                seconds[number] = time.perf_counter() - started
                spent.computing += seconds[number]
                save_shard(folder, number, computed, seconds)
                advance(len(computed))
        return shards | {number: np.load(path_of(folder, number), mmap_mode="r").view(np.ndarray) for number in missing}


def open_shard(folder: Path, number: int, size: int) -> np.ndarray | None:
    """A finished shard, memory-mapped; None where there is none or it is damaged."""
    try:
        shard: np.ndarray = np.load(path_of(folder, number), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return np.asarray(shard) if shard.ndim == 2 and len(shard) == size else None


def save_shard(folder: Path, number: int, shard: np.ndarray, seconds: Mapping[int, float]) -> None:
    path = path_of(folder, number)
    part = path.with_name(f"part-{path.name}")
    content = io.BytesIO()
    np.save(content, shard)
    part.write_bytes(content.getbuffer())  # numpy's own writing hides the reason where it fails
    replace_durably(part, path)
    write_durably(folder / "seconds.json", json.dumps(seconds))


def path_of(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npy"


def read_seconds(folder: Path) -> dict[int, float]:
    try:
        return {int(number): took for number, took in json.loads((folder / "seconds.json").read_text()).items()}
    except (OSError, ValueError):
        return {}


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Say in one line what to do where the cache cannot be written."""
    try:
        yield
    except OSError as error:
        for part in folder.glob("part-*"):
            part.unlink(missing_ok=True)
        raise DataError(
            f"the feature cache in {feature_cache_folder()} cannot be written ({error.strerror or error}); its "
            f"finished shards are kept. Make room, empty it ({EMPTY}), or set {FOLDER_VARIABLE} to a folder elsewhere"
        ) from error


def make_sure_of_room(needed: int, feature_cache_limit: float) -> None:
    folder = feature_cache_folder()
    held, free = cache_size(), shutil.disk_usage(folder).free
    if held + needed > feature_cache_limit * GIB:
        raise DataError(
            f"the feature cache in {folder} holds {held / GIB:.2f} GiB, and {needed / GIB:.2f} more would pass "
            f"feature_cache_limit={feature_cache_limit:g}. Raise that, or empty the cache: {EMPTY}"
        )
    if needed > free:
        raise DataError(
            f"the features need {needed / GIB:.2f} GiB in {folder}, where {free / GIB:.2f} are free. "
            f"Make room, empty the cache ({EMPTY}), or set {FOLDER_VARIABLE} to a folder elsewhere"
        )


def cache_size() -> int:
    """Bytes that the whole feature cache takes."""
    return sum(path.stat().st_size for path in feature_cache_folder().glob("*/*") if path.is_file())


def empty_cache() -> int:
    """Delete all features but those that a process is filling, which are named; return the bytes freed."""
    before = cache_size()
    for description in sorted(feature_cache_folder().glob("*/description.json")):
        folder = description.parent
        try:
            with FileLock(folder.parent / f".{folder.name}.lock").acquire(blocking=False):
                shutil.rmtree(folder)
        except Timeout:
            say(f"{folder} is left: a process is filling it")
    return before - cache_size()


def key_of(description: Mapping[str, Any]) -> str:
    text = json.dumps({**description, "format": FORMAT}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
