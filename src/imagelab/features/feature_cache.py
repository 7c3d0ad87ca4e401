"""The feature cache on disk, which many processes fill and read at once.

    features/<key>/description.json    what the key stands for: everything that the features depend on
    features/<key>/00012.npy           features of the images 12 * SHARD and on, see shards.py
    features/<key>/seconds.json        what each shard took: seconds, and seconds of processors
    features/.<key>.lock               held by the process that fills the folder; others wait, then find it full

One process after another goes on where the last one stopped.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imagelab.atomic_files import write_durably
from imagelab.data.cache import filling
from imagelab.features.quota import check_capacity, feature_cache_folder, reporting_write_errors
from imagelab.features.shards import ShardFormat, Shards, open_shard, save_shard
from imagelab.progress import images_progress

FORMAT = 1  # to be raised when shards are made in another way


@dataclass
class FeatureSeconds:
    """What features have cost.

    Attributes:
        computing: seconds that this process computed.
        saved: seconds that finding them in the cache has saved it.
        processor: seconds of processors (user and system) of whoever computed them; not a number if those of any part
            were not measured.
    """

    computing: float = 0.0
    saved: float = 0.0
    processor: float = 0.0


class ShardTime(NamedTuple):
    """What a shard took to compute: seconds, and seconds of processors, which older versions have not measured."""

    seconds: float
    processor: float = math.nan


@dataclass
class FeatureSet:
    """One view of the images of a split: what its features depend on, how they are computed, and those there are.

    Attributes:
        description: everything that the features depend on, as plain values.
        shard_format: the features' length and number format; a shard of another one is computed again.
        sizes: the number of images of each shard that is wanted.
        compute: gives the features of shard `number`, (sizes[number], length).
        shards: those that are open, memory-mapped, by number.
    """

    description: Mapping[str, Any]
    shard_format: ShardFormat
    sizes: Sequence[int]
    compute: Callable[[int], np.ndarray]
    shards: Shards = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return feature_cache_folder() / key_of(self.description)

    @property
    def missing(self) -> list[int]:
        return [number for number in range(len(self.sizes)) if number not in self.shards]

    @property
    def images_missing(self) -> int:
        return sum(self.sizes[number] for number in self.missing)

    @property
    def bytes_missing(self) -> int:
        return self.images_missing * self.shard_format.length * self.shard_format.dtype.itemsize

    def open_finished(self) -> list[ShardTime]:
        """Open those of the missing shards that are on disk, undamaged; return what they once took."""
        opened: Shards = {}
        for number in self.missing:
            shard = open_shard(self.folder, number, self.sizes[number], self.shard_format)
            if shard is not None:
                opened[number] = shard
        self.shards |= opened
        known = read_seconds(self.folder) if opened else {}
        return [known.get(number, ShardTime(0.0)) for number in opened]

    def open_and_count(self, seconds: FeatureSeconds) -> None:
        """Open the shards that are on disk, and add to `seconds` what that has saved."""
        found = self.open_finished()
        seconds.saved += sum(took.seconds for took in found)
        seconds.processor += sum(took.processor for took in found)


def load_or_compute(
    sets: Sequence[FeatureSet], feature_cache_limit: float, seconds: FeatureSeconds, title: str = "features"
) -> list[Shards]:
    """The shards of each set, from the cache as far as it has them.

    Args:
        feature_cache_limit: GiB that the whole cache may take; checked for all sets before anything is computed.
        seconds: is added to.
        title: what is shown while something is computed.

    Raises:
        DataError: the cache would grow over its limit, or the disk is full; what was finished is kept.
    """
    for one in sets:
        one.open_and_count(seconds)
    if images := sum(one.images_missing for one in sets):
        check_capacity(sum(one.bytes_missing for one in sets), feature_cache_limit)
        with images_progress(images, title) as advance:
            for one in sets:
                complete(one, feature_cache_limit, seconds, advance)
    return [one.shards for one in sets]


def complete(
    one: FeatureSet, feature_cache_limit: float, seconds: FeatureSeconds, advance: Callable[[int], None]
) -> None:
    """Compute what is missing of a set, unless another process does while this one waits."""
    if not one.missing:
        return
    missing = one.images_missing
    with locked_for_writing(one.folder, one.description):
        one.open_and_count(seconds)
        advance(missing - one.images_missing)
        if one.missing:
            check_capacity(one.bytes_missing, feature_cache_limit)  # other features may have been added meanwhile
            compute_missing(one, seconds, advance)
            one.open_finished()


@contextmanager
def locked_for_writing(folder: Path, description: Mapping[str, Any]) -> Iterator[None]:
    """Hold the folder's lock, with its description in place and without what a killed process has left half-done."""
    with ExitStack() as stack:
        with reporting_write_errors():
            stack.enter_context(filling(folder))
            folder.mkdir(exist_ok=True)
            for part in folder.glob("part-*"):
                part.unlink()
            write_durably(folder / "description.json", json.dumps(description, indent=2))
        yield


def compute_missing(one: FeatureSet, seconds: FeatureSeconds, advance: Callable[[int], None]) -> None:
    """Compute the missing shards, one after the other, each kept as soon as it is there."""
    took = read_seconds(one.folder)
    for number in one.missing:
        started, processor_started = time.perf_counter(), time.process_time()
        shard = one.compute(number)
        took[number] = ShardTime(time.perf_counter() - started, time.process_time() - processor_started)
        seconds.computing += took[number].seconds
        seconds.processor += took[number].processor
        with reporting_write_errors():
            write_durably(one.folder / "seconds.json", json.dumps(took))  # first: without it nobody knows what it took
            save_shard(one.folder, number, shard)
        advance(len(shard))


def read_seconds(folder: Path) -> dict[int, ShardTime]:
    """What each shard took, as far as that is known; a damaged note of it must not stop a run."""
    try:
        noted = json.loads((folder / "seconds.json").read_text()).items()
        return {
            int(number): ShardTime(*map(float, took)) if isinstance(took, list) else ShardTime(float(took))
            for number, took in noted
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def key_of(description: Mapping[str, Any]) -> str:
    text = json.dumps({**description, "format": FORMAT}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
