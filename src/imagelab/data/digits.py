"""scikit-learn's digits: 1,797 grey 8x8 pictures of handwritten digits, embedded in that package: needs no network."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from imagelab.console import say
from imagelab.data.dataset import Dataset, Split


def load(data_dir: Path | None = None) -> Dataset:
    """Load the digits, 0-16 stretched to 0-255; a fixed, stratified fifth is the test split."""
    if data_dir:
        say(f"data_dir={data_dir} is not needed: the digits come with scikit-learn")
    return find()


def find(data_dir: Path | None = None) -> Dataset:
    """The digits: every machine has them, whatever `data_dir` is."""
    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels)
    everything = Split(images, labels.astype(np.int64))
    names = tuple(str(digit) for digit in range(10))
    return Dataset("digits", everything.take(train), everything.take(test), names, "scikit-learn's load_digits")
