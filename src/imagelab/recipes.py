"""The recommended settings of each (data set, model), as plain data; what the user gives wins over them.

The README's results table is what these give. A value stands in the most general place where it holds.
"""

from typing import Any

from imagelab.data import DATASETS
from imagelab.models import BACKBONES

EVERYWHERE: dict[str, Any] = {
    "epochs": 20,
    "batch_size": 128,
    "learning_rate": 0.001,
    "learning_rate_schedule": "cosine",
    "dropout_rate": None,  # the network's own rates
    "label_smoothing": 0.0,
    "augmentation": "none",
}

BACKBONES_EVERYWHERE: dict[str, Any] = {  # measured for resnet50 on cifar100, the others take it over
    "epochs": 15,
    "weights": "imagenet",
    "image_size": 160,
    "pooled_stages": 2,
    "head": "wide",
    "augmented_views": 0,
    "fine_tune_epochs": 0,
    "fine_tune_at": "100",
    "fine_tune_learning_rate": 0.00001,
}

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("fashion_mnist", "basic_ann"): {},
    ("fashion_mnist", "basic_cnn"): {"epochs": 15, "learning_rate": 0.002},
    ("fashion_mnist", "deeper_cnn"): {"epochs": 20, "learning_rate": 0.0005},
    ("cifar100", "basic_ann"): {},
    ("cifar100", "basic_cnn"): {"epochs": 30, "augmentation": "flip"},
    ("cifar100", "deeper_cnn"): {"epochs": 20, "learning_rate": 0.0005, "augmentation": "flip"},
    # No weights for it are to be had: it is trained from scratch.
    **{(dataset, "vit"): {"weights": "none", "image_size": 32, "pooled_stages": 1} for dataset in DATASETS},
    ("digits", "basic_ann"): {"epochs": 50, "batch_size": 32},
    ("digits", "basic_cnn"): {"epochs": 30, "batch_size": 32},
    ("digits", "deeper_cnn"): {"epochs": 30, "batch_size": 32, "learning_rate": 0.0005},
}


def recommended(dataset: str, model: str) -> dict[str, Any]:
    """The settings to use where the user gives none."""
    of_backbones = BACKBONES_EVERYWHERE if model in BACKBONES else {}
    return {**EVERYWHERE, **of_backbones, **RECIPES.get((dataset, model), {})}
