"""Fashion-MNIST: 70,000 grey 28x28 pictures of ten kinds of clothing (Xiao, Rasul and Vollgraf, 2017; MIT licence)."""

import gzip
import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from imagelab.data import cache
from imagelab.data.dataset import Dataset, Split, sha256_of
from imagelab.data.folders import first_whole, read_fetched, say_if_none
from imagelab.errors import DataError, one_line

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# SHA-256 of the decoded arrays: a file may be compressed anew, its content may not change.
FILES = {
    "train-images-idx3-ubyte.gz": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    "train-labels-idx1-ubyte.gz": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "t10k-images-idx3-ubyte.gz": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    "t10k-labels-idx1-ubyte.gz": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
URL_VARIABLE = "IMAGELAB_FASHION_MNIST_URL"  # a mirror of the four files, instead of Keras's


def load(data_dir: Path | None = None) -> Dataset:
    """Load from data_dir, Keras's cache or Debian's folder; else download into the cache.

    Raises:
        DataError: no source has all four files undamaged.
    """
    say_if_none(data_dir, folders(data_dir), FILES, "Fashion-MNIST")
    return find(data_dir) or fetch()


def find(data_dir: Path | None = None) -> Dataset | None:
    """The data set as far as this machine has it, without fetching anything."""
    return first_whole(folders(data_dir), FILES, read_folder)


def folders(data_dir: Path | None = None) -> list[Path]:
    """Where the files may be, in order."""
    return [*([data_dir] if data_dir else []), cache.cache_folder("fashion-mnist"), DEBIAN_FOLDER]


def fetch() -> Dataset:
    folder = cache.cache_folder("fashion-mnist")
    cache.make_writable(folder)
    with cache.filling(folder):
        with suppress(DataError):  # another process filled it while this one waited; damage has been named already
            return read_folder(folder)
        source = cache.fetch_into(folder, list(FILES), sources())
    return replace(read_fetched(folder, read_folder), source=f"{folder} (from {source})")


def sources() -> dict[str, cache.Fetch]:
    """Where the files can be fetched from, in order."""
    url = os.environ.get(URL_VARIABLE, KERAS_URL)

    def from_keras(part: Path) -> None:
        for name in FILES:
            cache.download(url + name, part)
        damaged = [name for name in FILES if not is_whole(part / name, FILES[name])]
        if damaged:
            raise DataError(f"{', '.join(damaged)} arrived damaged from {url}")

    from_debian = partial(cache.download_debian_package, DEBIAN_PACKAGE)
    return {"download from Keras's servers": from_keras, f"Debian package {DEBIAN_PACKAGE}": from_debian}


def is_whole(path: Path, sha256: str) -> bool:
    try:
        read_file(path, sha256)
    except DataError:
        return False
    return True


def read_folder(folder: Path) -> Dataset:
    """The data set from a folder with the four files.

    Raises:
        DataError: it names each that is missing or damaged.
    """
    arrays, problems = [], []
    for name, sha256 in FILES.items():
        try:
            arrays.append(read_file(folder / name, sha256))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("; ".join(problems))
    return assemble(arrays, str(folder))


def read_file(path: Path, sha256: str) -> np.ndarray:
    """Decode one gzipped IDX file (LeCun's format: 4 bytes of type and rank, then a big-endian size per axis).

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        rank = content[3]
        shape = np.frombuffer(content, ">u4", rank, 4)
        array = np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise DataError(f"{path} cannot be used: {one_line(error)}") from error
    if sha256_of(array) != sha256:
        raise DataError(f"{path} is damaged: its content has another SHA-256 than Fashion-MNIST's")
    return array


def assemble(arrays: list[np.ndarray], source: str) -> Dataset:
    train_images, train_labels, test_images, test_labels = arrays
    train = Split(train_images[..., None], train_labels.astype(np.int64))
    test = Split(test_images[..., None], test_labels.astype(np.int64))
    return Dataset("fashion_mnist", train, test, CLASS_NAMES, source)
