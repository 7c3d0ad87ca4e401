"""CIFAR-100: 60,000 colour 32x32 pictures of 100 classes in 20 superclasses (Krizhevsky, 2009)."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from imagelab.data import cache
from imagelab.data.dataset import Dataset, Split, sha256_of
from imagelab.data.folders import first_whole, read_fetched, say_if_none
from imagelab.data.plain_pickle import PlainArray, PlainUnpickler
from imagelab.errors import DataError, one_line

FOLDER = "cifar-100-python"
FILES = ("train", "test", "meta")
PIXELS_SHA256 = {
    "train": "4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430",
    "test": "4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19",
}
LABELS_SHA256 = {
    "train": "afef40c58b6d48401eb099665ef4926ac8fb30cea144da35cab86ca5e1fb307d",
    "test": "0ac447fd27dc9b99ca7277c77c184c91633dfa76d778ff2cf11b1373fdd8d3cb",
}
NAMES_SHA256 = {  # of the names joined by newlines
    b"fine_label_names": "fbe8ad23bbaf24969898a386833b49c3aaf6ad1119d43f7b41cdea1b3416d578",
    b"coarse_label_names": "9b48b836d98e8782057bb6a4da0d4030fe828e2b156b81fa835fda91b5276930",
}
URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
URL_SHA256 = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
URL_VARIABLE = "IMAGELAB_CIFAR100_URL"  # a mirror of that archive


def load(data_dir: Path | None = None) -> Dataset:
    """Load the extracted official folder from data_dir or Keras's cache; else download it into the cache.

    Raises:
        DataError: no source has the three files undamaged.
    """
    say_if_none(data_dir, folders(data_dir), FILES, "CIFAR-100")
    return find(data_dir) or fetch()


def find(data_dir: Path | None = None) -> Dataset | None:
    """The data set as far as this machine has it, without fetching anything."""
    return first_whole(folders(data_dir), FILES, read_folder)


def folders(data_dir: Path | None = None) -> list[Path]:
    """Where the files may be, in order; Keras has changed its own folder once."""
    given = [data_dir, data_dir / FOLDER] if data_dir else []
    return [*given, cache.cache_folder("cifar-100-python-target", FOLDER), cache.cache_folder(FOLDER)]


def fetch() -> Dataset:
    folder = cache.cache_folder("cifar-100-python-target", FOLDER)
    url = os.environ.get(URL_VARIABLE, URL)
    cache.make_writable(folder)
    with cache.filling(folder):
        with suppress(DataError):  # another process filled it while this one waited; damage has been named already
            return read_folder(folder)
        cache.fetch_into(folder, list(FILES), {f"download from {url}": download})
    return read_fetched(folder, read_folder)


def download(part: Path) -> None:
    cache.download(os.environ.get(URL_VARIABLE, URL), part, URL_SHA256, extract=True)


def read_folder(folder: Path) -> Dataset:
    """The data set from a folder with the three files.

    Raises:
        DataError: it names the first that is missing or damaged.
    """
    content = {}
    for name in FILES:
        try:
            content[name] = read_file(folder / name, name)
        except Exception as error:  # a damaged pickle can raise nearly anything
            raise DataError(f"{folder / name} cannot be used: {one_line(error)}") from error
    return assemble(content, str(folder))


def read_file(path: Path, name: str) -> dict[bytes, Any]:
    """Read one of the three official pickles and check its content.

    Raises:
        DataError: pixels, labels or names have another SHA-256 than CIFAR-100's.
    """
    with path.open("rb") as file:
        content: dict[bytes, Any] = PlainUnpickler(file, encoding="bytes").load()
    if not isinstance(content, dict):
        raise DataError("it holds no table")
    if name == "meta":
        return {key: names_of(content, key) for key in NAMES_SHA256}
    content[b"data"] = pixels_of(content)
    labels = [labels_of(content, key) for key in (b"fine_labels", b"coarse_labels")]
    if sha256_of(content[b"data"]) != PIXELS_SHA256[name] or sha256_of(*labels) != LABELS_SHA256[name]:
        raise DataError("damaged: its content has another SHA-256 than CIFAR-100's")
    return content


def pixels_of(content: dict[bytes, Any]) -> np.ndarray:
    plain = content.get(b"data")
    if not isinstance(plain, PlainArray) or plain.array.dtype != np.uint8:
        raise DataError("it holds no array of pixels")
    return np.ascontiguousarray(plain.array.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def labels_of(content: dict[bytes, Any], key: bytes) -> np.ndarray:
    """A list of labels as an array; only a flat one, since of nested lists a small file makes a huge array."""
    labels = content.get(key)
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise DataError(f"its {key.decode()} are no list of numbers")
    return np.array(labels, np.int64)


def names_of(content: dict[bytes, Any], key: bytes) -> tuple[str, ...]:
    names = content.get(key)
    if not isinstance(names, list) or not all(isinstance(name, bytes) and b"\n" not in name for name in names):
        raise DataError(f"its {key.decode()} are no list of names")
    if hashlib.sha256(b"\n".join(names)).hexdigest() != NAMES_SHA256[key]:
        raise DataError(f"damaged: its {key.decode()} are not CIFAR-100's")
    return tuple(name.decode() for name in names)


def assemble(content: dict[str, dict[bytes, Any]], source: str) -> Dataset:
    train, test = (
        Split(content[name][b"data"], np.array(content[name][b"fine_labels"], np.int64)) for name in ("train", "test")
    )
    fine_names, coarse_names = (content["meta"][key] for key in NAMES_SHA256)
    superclass_of = dict(zip(content["train"][b"fine_labels"], content["train"][b"coarse_labels"], strict=True))
    superclasses = tuple(int(superclass_of[label]) for label in range(len(fine_names)))
    return Dataset("cifar100", train, test, fine_names, source, coarse_names, superclasses)
