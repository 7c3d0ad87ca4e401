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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imagelab.data.cache import filling
from imagelab.errors import DataError
from imagelab.features.progress import bar_of_images
from imagelab.features.room import feature_cache_folder, make_sure_of_room, storing
from imagelab.files import replace_durably, write_durably

FORMAT = 1  # to be raised when shards are made in another way
SHARD = 500  # images

Shards = dict[int, np.ndarray]


class Kind(NamedTuple):
    """The length of a feature vector, and its number format."""

    length: int
    dtype: np.dtype[Any]


@dataclass
class Spent:
    """Seconds that computing features took, and seconds that finding them in the cache has saved."""

    computing: float = 0.0
    saved: float = 0.0


def load_or_compute(
    description: Mapping[str, Any],
    kind: Kind,
    sizes: Sequence[int],
    compute: Callable[[int], np.ndarray],
    feature_cache_limit: float,
    spent: Spent,
) -> Shards:
    """The shards of one set of features, memory-mapped, from the cache as far as it has them.

    Args:
        description: everything that the features depend on, as plain values.
        kind: the features' length and number format; a shard of another kind is a damaged one.
        sizes: the number of images of each shard that is wanted.
        compute: gives the features of shard `number`, (sizes[number], length).
        feature_cache_limit: GiB that the whole cache may take.
        spent: is added to.

    Raises:
        DataError: the cache would grow over its limit, or the disk is full; what was finished is kept.
    """
    folder = feature_cache_folder() / key_of(description)
    shards = open_shards(folder, kind, sizes)
    if len(shards) < len(sizes):
        with being_filled(folder, description):
            shards = open_shards(folder, kind, sizes)  # another process may have made some while this one waited
            missing = [number for number in range(len(sizes)) if number not in shards]
            needed = sum(sizes[number] for number in missing) * kind.length * kind.dtype.itemsize
            make_sure_of_room(needed, feature_cache_limit)
            fill(folder, missing, sizes, compute, spent)
            made = open_shards(folder, kind, sizes)
            spent.saved += seconds_of(folder, shards)
            return made
    spent.saved += seconds_of(folder, shards)
    return shards


@contextmanager
def being_filled(folder: Path, description: Mapping[str, Any]) -> Iterator[None]:
    """Hold the folder's lock, with its description in place and without what a killed process has left half-done."""
    with ExitStack() as stack:
        with storing():
            stack.enter_context(filling(folder))
            folder.mkdir(exist_ok=True)
            for part in folder.glob("part-*"):
                part.unlink()
            write_durably(folder / "description.json", json.dumps(description, indent=2))
        yield


def fill(
    folder: Path, missing: Sequence[int], sizes: Sequence[int], compute: Callable[[int], np.ndarray], spent: Spent
) -> None:
    """Compute the missing shards, one after the other, each kept as soon as it is there."""
    seconds = read_seconds(folder)
    with bar_of_images(sum(sizes[number] for number in missing)) as advance:
        for number in missing:
            started = time.perf_counter()
            computed = compute(number)
            seconds[number] = time.perf_counter() - started
            spent.computing += seconds[number]
            with storing():
                save_shard(folder, number, computed, seconds)
            advance(len(computed))


def open_shards(folder: Path, kind: Kind, sizes: Sequence[int]) -> Shards:
    """The finished shards, memory-mapped, without those that are damaged."""
    found = {number: open_shard(path_of(folder, number)) for number in range(len(sizes))}
    return {
        number: shard
        for number, shard in found.items()
        if shard is not None and shard.shape == (sizes[number], kind.length) and shard.dtype == kind.dtype
    }


def open_shard(path: Path) -> np.ndarray | None:
    """An array, memory-mapped; None where there is none or its file is damaged."""
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (FileNotFoundError, ValueError, EOFError):
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error


def save_shard(folder: Path, number: int, shard: np.ndarray, seconds: Mapping[int, float]) -> None:
    path = path_of(folder, number)
    part = path.with_name(f"part-{path.name}")
    content = io.BytesIO()
    np.save(content, shard)
    try:
        part.write_bytes(content.getbuffer())  # numpy's own writing hides the reason where it fails
        replace_durably(part, path)
        write_durably(folder / "seconds.json", json.dumps(seconds))
    except OSError:
        part.unlink(missing_ok=True)
        raise


def path_of(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npy"


def read_seconds(folder: Path) -> dict[int, float]:
    """What each shard took, as far as that is known: a matter of curiosity, which must not stop a run."""
    try:
        return {int(number): float(took) for number, took in json.loads((folder / "seconds.json").read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def seconds_of(folder: Path, shards: Shards) -> float:
    return sum(took for number, took in read_seconds(folder).items() if number in shards)


def key_of(description: Mapping[str, Any]) -> str:
    text = json.dumps({**description, "format": FORMAT}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
