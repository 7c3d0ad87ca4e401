"""Fashion-MNIST: 70,000 grey 28x28 pictures of ten kinds of clothing (Xiao, Rasul and Vollgraf, 2017; MIT licence)."""

import gzip
import os
from functools import partial
from pathlib import Path

import numpy as np

from imagelab.console import say
from imagelab.data import cache
from imagelab.data.dataset import Dataset, Split, sha256_of
from imagelab.errors import DataError

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
    for folder in filter(None, (data_dir, cache.cache_folder("fashion-mnist"), DEBIAN_FOLDER)):
        if arrays := read_folder(folder):
            return assemble(arrays, str(folder))
    return fetch()


def fetch() -> Dataset:
    folder = cache.cache_folder("fashion-mnist")
    with cache.filling(folder):
        if arrays := read_folder(folder):  # another process filled it while this one waited
            return assemble(arrays, str(folder))
        source = cache.fetch_into(folder, list(FILES), sources())
    if arrays := read_folder(folder):
        return assemble(arrays, f"{folder} (from {source})")
    raise DataError(f"Fashion-MNIST as fetched into {folder} is damaged; delete that folder and try again")


def sources() -> dict[str, cache.Fetch]:
    """Where the files can be fetched from, in order."""
    url = os.environ.get(URL_VARIABLE, KERAS_URL)

    def from_keras(part: Path) -> None:
        for name in FILES:
            cache.download(url + name, part)
        damaged = [name for name in FILES if read_file(part / name, FILES[name]) is None]
        if damaged:
            raise DataError(f"{', '.join(damaged)} arrived damaged from {url}")

    from_debian = partial(cache.download_debian_package, DEBIAN_PACKAGE)
    return {"download from Keras's servers": from_keras, f"Debian package {DEBIAN_PACKAGE}": from_debian}


def read_folder(folder: Path) -> list[np.ndarray] | None:
    """The four arrays, or None where a file is missing or damaged; a damaged one is named."""
    if not any((folder / name).exists() for name in FILES):
        return None
    arrays = [read_file(folder / name, sha256) for name, sha256 in FILES.items()]
    return None if any(array is None for array in arrays) else [array for array in arrays if array is not None]


def read_file(path: Path, sha256: str) -> np.ndarray | None:
    """Decode one gzipped IDX file (LeCun's format: 4 bytes of type and rank, then a big-endian size per axis)."""
    try:
        content = gzip.decompress(path.read_bytes())
        rank = content[3]
        shape = np.frombuffer(content, ">u4", rank, 4)
        array = np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        say(f"{path} cannot be used: {cache.first_line(error)}")
        return None
    if sha256_of(array) == sha256:
        return array
    say(f"{path} is damaged: its content has another SHA-256 than Fashion-MNIST's")
    return None


def assemble(arrays: list[np.ndarray], source: str) -> Dataset:
    train_images, train_labels, test_images, test_labels = arrays
    train = Split(train_images[..., None], train_labels.astype(np.int64))
    test = Split(test_images[..., None], test_labels.astype(np.int64))
    return Dataset("fashion_mnist", train, test, CLASS_NAMES, source)
