"""The table of data sets. A new one is a file here of that name, with `load`, and a line in DATASETS."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagelab.data.dataset import Dataset

DATASETS = (
    "fashion_mnist",
    "cifar100",
    "digits",
)


def load_dataset(name: str, data_dir: Path | None = None) -> "Dataset":
    """Load the data set `name`, checked to be complete and undamaged.

    Args:
        data_dir: a folder with the data set's files, looked into before Keras's cache.

    Raises:
        KeyError: `name` is not in DATASETS.
        DataError: it is neither cached nor to be had; the message says where it was looked for.
    """
    if name not in DATASETS:
        raise KeyError(f"no data set named {name!r}; known: {', '.join(DATASETS)}")
    dataset: Dataset = import_module(f"imagelab.data.{name}").load(data_dir)
    return dataset
