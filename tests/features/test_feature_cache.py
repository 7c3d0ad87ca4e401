"""The feature cache, with arrays that are made by counting instead of a network."""

import json
import math
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagelab.errors import DataError
from imagelab.features import Features
from imagelab.features.feature_cache import FeatureSeconds, FeatureSet, key_of, load_or_compute
from imagelab.features.quota import cache_size, empty_cache
from imagelab.features.shards import SHARD, ShardFormat

SIZES = [500, 500, 37]
LENGTH = 8
FLOATS = ShardFormat(LENGTH, np.dtype(np.float32))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGELAB_FEATURE_CACHE", str(tmp_path / "features"))
    return tmp_path / "features"


def compute(number: int) -> np.ndarray:
    rows = np.arange(number * 500, number * 500 + SIZES[number], dtype=np.float32)
    return np.repeat(rows[:, None], LENGTH, axis=1)


def load(
    made: list[int] | None = None, limit: float = 1.0, seconds: FeatureSeconds | None = None, **description: Any
) -> Any:
    def counted(number: int) -> np.ndarray:
        if made is not None:
            made.append(number)
        return compute(number)

    return load_set(counted, limit, seconds, **description)


def load_set(
    compute: Callable[[int], np.ndarray], limit: float = 1.0, seconds: FeatureSeconds | None = None, **description: Any
) -> Any:
    features = FeatureSet({"backbone": "x", **description}, FLOATS, SIZES, compute)
    return load_or_compute([features], limit, seconds or FeatureSeconds())[0]


def test_what_was_computed_once_is_read_again_and_the_time_saved_is_counted(folder: Path) -> None:
    made: list[int] = []
    first, second = FeatureSeconds(), FeatureSeconds()
    computed = load(made, seconds=first)
    again = load(made, seconds=second)
    assert made == [0, 1, 2]
    for number in range(3):
        np.testing.assert_array_equal(computed[number], again[number])
        np.testing.assert_array_equal(again[number], compute(number))
    assert first.computing > 0 == first.saved
    assert second.saved == pytest.approx(first.computing)
    assert second.processor == pytest.approx(first.processor) != 0
    assert second.computing == 0
    assert isinstance(again[0].base, np.memmap)


def test_anything_that_features_depend_on_makes_another_key() -> None:
    made: list[int] = []
    load(made)
    for change in ({"backbone": "y"}, {"image_size": 64}, {"view": 1}, {"dtype": "bfloat16"}):
        load(made, **change)
    assert len(made) == 5 * 3
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


def test_what_a_stopped_process_has_finished_is_kept() -> None:
    made: list[int] = []

    def stop(number: int) -> np.ndarray:
        if number == 2:
            raise KeyboardInterrupt
        return compute(number)

    with pytest.raises(KeyboardInterrupt):
        load_set(stop)
    load(made)
    assert made == [2]


OTHERS = {
    "rows": np.zeros((3, LENGTH), np.float32),
    "length": np.zeros((500, 3), np.float32),
    "format": np.zeros((500, LENGTH), np.float64),
}


@pytest.mark.parametrize("damage", ["cut", "empty", "text", *OTHERS])
def test_a_damaged_shard_is_computed_again(folder: Path, damage: str) -> None:
    load()
    (shard,) = folder.glob("*/00001.npy")
    content = shard.read_bytes()
    if damage in OTHERS:
        np.save(shard, OTHERS[damage])
    else:
        shard.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"not an array"}[damage])
    made: list[int] = []
    np.testing.assert_array_equal(load(made)[1], compute(1))
    assert made == [1]


def test_what_an_older_version_has_noted_is_the_seconds_alone(folder: Path) -> None:
    load()
    (seconds,) = folder.glob("*/seconds.json")
    seconds.write_text('{"0": 1.5, "1": 2.0, "2": 0.5}')
    found = FeatureSeconds()
    load(seconds=found)
    assert (found.saved, found.computing) == (4, 0)
    assert math.isnan(found.processor)


@pytest.mark.parametrize("content", ["[]", '{"0": null}', '{"a": 1}', "", "{"])
def test_what_is_noted_of_seconds_stops_no_run(folder: Path, content: str) -> None:
    load()
    (seconds,) = folder.glob("*/seconds.json")
    seconds.write_text(content)
    found = FeatureSeconds()
    load(seconds=found)
    assert found.saved == 0


def test_a_cache_at_its_limit_says_how_to_empty_it(folder: Path) -> None:
    load()
    with pytest.raises(DataError, match=r"feature_cache_limit=1e-06.*empty_feature_cache") as error:
        load(limit=1e-6, image_size=64)
    assert "\n" not in str(error.value)
    assert load(limit=1e-6)  # what is there already takes no more room


def test_all_views_must_fit_before_the_first_is_computed(folder: Path) -> None:
    made: list[int] = []

    def counted(number: int) -> np.ndarray:
        made.append(number)
        return compute(number)

    views = [FeatureSet({"backbone": "x", "view": view}, FLOATS, SIZES, counted) for view in range(3)]
    size = sum(SIZES) * LENGTH * 4
    with pytest.raises(DataError, match="feature_cache_limit"):
        load_or_compute(views, 2.9 * size / 2**30, FeatureSeconds())
    assert made == []
    load_or_compute(views[1:2], 3.1 * size / 2**30, FeatureSeconds())
    all_views = load_or_compute(views, 3.1 * size / 2**30, FeatureSeconds())  # what is there is not counted twice
    assert made == [0, 1, 2] * 3
    assert [sorted(shards) for shards in all_views] == [[0, 1, 2]] * 3


@pytest.mark.parametrize("place", ["first number", "last number", "checksum"])
def test_a_flipped_bit_is_said_and_the_shard_computed_again(
    folder: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    load()
    (shard,) = folder.glob("*/00001.npy")
    content = bytearray(shard.read_bytes())
    numbers = SHARD * LENGTH * 4
    header = len(content) - numbers - len(b"crc32 01234567\n")
    content[{"first number": header, "last number": header + numbers - 1, "checksum": -2}[place]] ^= 1
    shard.write_bytes(content)
    capsys.readouterr()
    made: list[int] = []
    np.testing.assert_array_equal(load(made)[1], compute(1))
    assert made == [1]
    assert f"{shard} is damaged" in capsys.readouterr().err
    load(made)
    assert made == [1]
    assert capsys.readouterr().err == ""


def test_shards_of_before_have_no_checksum_and_are_used(folder: Path) -> None:
    load()
    for path in folder.glob("*/*.npy"):
        np.save(path, np.load(path))
    made: list[int] = []
    np.testing.assert_array_equal(load(made)[1], compute(1))
    assert made == []


def test_emptying_frees_everything_but_what_a_process_is_filling(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from filelock import FileLock

    load()
    load(image_size=64)
    held = cache_size()
    busy = folder / key_of({"backbone": "x"})
    with FileLock(folder / f".{busy.name}.lock"):
        freed = empty_cache()
    assert 0 < freed < held
    assert str(busy) in capsys.readouterr().err
    assert len(list(busy.glob("*.npy"))) == 3
    empty_cache()
    assert cache_size() == 0


def fill_in_a_process(made: Any) -> None:
    def counted(number: int) -> np.ndarray:
        with made.get_lock():
            made.value += 1
        return compute(number)

    shards = load_set(counted)
    for number in range(3):
        np.testing.assert_array_equal(shards[number], compute(number))


def test_processes_that_want_the_same_features_compute_them_once() -> None:
    context = multiprocessing.get_context("fork")
    made = context.Value("i", 0)
    processes = [context.Process(target=fill_in_a_process, args=(made,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert made.value == 3


ON_A_FULL_DISK = """
import os, sys
from pathlib import Path
import numpy as np
from imagelab.errors import DataError
from imagelab.features.feature_cache import FeatureSeconds, FeatureSet, load_or_compute
from imagelab.features.shards import ShardFormat

disk = Path(os.environ["IMAGELAB_FEATURE_CACHE"]).parent

def fill_disk_at_second_shard(number):
    if number == 1:
        (disk / "filler").write_bytes(bytes(700_000))
    return np.full((500, 100), number, np.float32)

def load(backbone, length, compute):
    features = FeatureSet({"backbone": backbone}, ShardFormat(length, np.dtype("f4")), [500] * 4, compute)
    load_or_compute([features], 1.0, FeatureSeconds())

def attempt(compute):
    try:
        load("x", 100, compute)
        print("complete")
    except DataError as error:
        print(error)

attempt(fill_disk_at_second_shard)
print(sorted(path.name for path in disk.glob("features/*/*")))
(disk / "filler").unlink()
attempt(lambda number: np.full((500, 100), number, np.float32))
(disk / "filler").write_bytes(bytes(200_000))
attempt(None)
load("y", 1000, None)
"""


def test_a_full_disk_is_said_in_one_line_and_loses_nothing(tmp_path: Path) -> None:
    """A tmpfs of 1 MiB, which something else fills while shards of 0.2 MiB are written."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=1m tmpfs {disk} && exec {sys.executable} -c '{ON_A_FULL_DISK}'"
    own_mounts = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    environment = {**os.environ, "IMAGELAB_FEATURE_CACHE": str(disk / "features")}
    done = subprocess.run(
        [*own_mounts, "sh", "-c", mount], capture_output=True, text=True, env=environment, check=False
    )
    full, kept, again, cached = done.stdout.splitlines()
    assert "cannot be written (No space left on device)" in full
    assert "empty_feature_cache" in full
    assert "00000.npy" in kept
    assert "part-" not in kept
    assert (again, cached) == ("complete", "complete")
    assert "DataError: the features need 0.01 GiB in" in done.stderr


def test_features_are_a_split_that_is_read_row_by_row() -> None:
    plain, other = load(), load(view=1)
    features = Features((plain, {n: shard + 0.5 for n, shard in other.items()}), np.arange(1037), np.arange(1037))
    some = features.take(np.array([3, 999, 1036, 500]))
    assert len(some) == 4
    batch = some.read(np.array([2, 0, 1]), np.array([0, 1, 0]))
    assert batch[:, 0].tolist() == [1036.0, 3.5, 999.0]
    assert batch.shape == (3, LENGTH)


def test_the_cache_says_what_each_key_stands_for(folder: Path) -> None:
    load(image_size=64)
    (description,) = folder.glob("*/description.json")
    assert json.loads(description.read_text()) == {"backbone": "x", "image_size": 64}


def test_batches_of_features_are_the_same_from_memory_and_from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from imagelab.data import batches

    features = Features((load(),), np.arange(1037), np.arange(1037) % 10).take(np.arange(0, 1037, 3))

    def one_epoch() -> list[tuple[np.ndarray, np.ndarray]]:
        epoch = tf.Variable(3, dtype=tf.int64)
        made = batches.make_training_batches(features, 10, 64, seed=5, epoch=epoch)
        return [(inputs.numpy(), targets.numpy()) for inputs, targets in made]

    held = one_epoch()
    monkeypatch.setattr(batches, "MOST_IN_MEMORY", 0)
    read = one_epoch()
    assert len(held) == len(read) == 6
    for (inputs, targets), (same_inputs, same_targets) in zip(held, read, strict=True):
        np.testing.assert_array_equal(inputs, same_inputs)
        np.testing.assert_array_equal(targets, same_targets)
        assert (inputs[:, 0] % 10).tolist() == targets.argmax(axis=1).tolist()


def test_each_epoch_draws_the_view_of_each_image_anew() -> None:
    import tensorflow as tf

    from imagelab.data.batches import make_training_batches

    plain, other = load(), {n: shard + 0.5 for n, shard in load(view=1).items()}
    features = Features((plain, other), np.arange(1037), np.zeros(1037, int))
    epoch = tf.Variable(0, dtype=tf.int64)
    made = make_training_batches(features, 10, 64, seed=5, epoch=epoch)
    drawn = []
    for number in (0, 1, 0):
        epoch.assign(number)
        rows = np.concatenate([inputs.numpy()[:, 0] for inputs, _ in made])
        assert sorted(rows.astype(int)) == list(range(1037))
        drawn.append({int(row): row % 1 for row in rows})
    assert drawn[0] == drawn[2] != drawn[1]
    assert 0.4 < np.mean([view > 0 for view in drawn[0].values()]) < 0.6


def test_openvino_reports_nothing() -> None:
    """In a process of its own, since it would report when it is imported."""
    program = "import sys; from imagelab.features.extraction import import_openvino; import_openvino(); "
    program += "print([name for name in sys.modules if 'telemetry' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "openvino_telemetry" not in done.stdout
    assert "telemetry_stub" in done.stdout
