"""The table of data sets. A new one is a file here of that name, with `load` and `find`, and a line in each table."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagelab.data.dataset import Dataset

NUM_CLASSES = {
    "fashion_mnist": 10,
    "cifar100": 100,
    "digits": 10,
}
IMAGE_SIZES = {  # height and width in pixels
    "fashion_mnist": 28,
    "cifar100": 32,
    "digits": 8,
}
DATASETS = tuple(NUM_CLASSES)
# Random changes of training images, in the order in which they are applied; `augmentation.py` has them.
AUGMENTATIONS = ("flip", "shift", "rotation", "zoom", "randaugment", "erasing")
# Of the augmentations that a teacher's answers can be kept for: how many views of each image it is asked about.
TEACHER_VIEWS = {"none": 1, "flip": 2, "flip+shift": 8}


def num_classes_of(name: str) -> int:
    """How many classes the data set `name` has, without loading it.

    Raises:
        KeyError: `name` is not in DATASETS.
    """
    return NUM_CLASSES[name]


def load_dataset(name: str, data_dir: Path | None = None) -> "Dataset":
    """Load the data set `name`, checked to be complete and undamaged.

    Args:
        data_dir: a folder with the data set's files, looked into before Keras's cache.

    Raises:
        KeyError: `name` is not in DATASETS.
        DataError: it is neither cached nor to be had; the message says where it was looked for.
    """
    dataset: Dataset = module_of(name).load(data_dir)
    return dataset


def find_dataset(name: str) -> "Dataset | None":
    """The data set `name` if this machine has it, complete and undamaged; nothing is fetched.

    Raises:
        KeyError: `name` is not in DATASETS.
    """
    found: Dataset | None = module_of(name).find()
    return found


def module_of(name: str) -> ModuleType:
    if name not in DATASETS:
        raise KeyError(f"no data set named {name!r}; known: {', '.join(DATASETS)}")
    return import_module(f"imagelab.data.{name}")
