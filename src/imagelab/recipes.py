"""The recommended settings of each (data set, model), as plain data; what the user gives wins over them.

A recipe has three strengths: `quick` is a first look (a minute or three for the networks of the reference),
`standard` is what `train` uses, and `best` is for the highest accuracy. A value stands in the most general
place where it holds: quick and best name only what differs from standard.
"""

from typing import Any

from imagelab.models import BACKBONES, RESIDUAL

Place = tuple[str, str]  # a data set and a model; either may be ANY, and the model BACKBONE
Values = dict[str, Any]

ANY = "any"
BACKBONE = "backbone"  # any model of BACKBONES

PLATEAU_PATIENCE = 3  # epochs without a better one after which learning_rate_schedule=plateau lowers the rate

# Every technique switched off; runs of before they existed were trained so.
OFF: Values = {
    "optimizer": "adam",
    "warmup_epochs": 0,
    "weight_decay": None,  # the optimiser's own
    "gradient_clipping": 0.0,
    "gradient_accumulation": 1,
    "l2": 0.0,
    "class_weight": "none",
    "mixup": 0.0,
    "cutmix": 0.0,
    "mix_off_epochs": 0,
    "progressive": "none",
    "ema": 0.0,
    "average_epochs": 0,
    "stochastic_depth": 0.0,
}

# Gets more out of a fixed number of epochs than Adam under a cosine.
ONE_CYCLE: Values = {
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "learning_rate": 0.003,
    "learning_rate_schedule": "one_cycle",
    "monitor": "val_accuracy",
    "early_stopping_patience": 0,  # the rate is still high when a third of the epochs is over
}

STANDARD: dict[Place, Values] = {
    (ANY, ANY): {
        "epochs": 20,
        "batch_size": 128,
        "learning_rate": 0.001,
        "learning_rate_schedule": "cosine",
        "dropout_rate": None,  # the network's own rates
        "label_smoothing": 0.0,
        "augmentation": "none",
        "monitor": "val_loss",
        "early_stopping_patience": 5,
        **OFF,
    },
    (ANY, "deeper_cnn"): {"learning_rate": 0.0005},
    (ANY, BACKBONE): {  # measured for resnet50 on cifar100, the others take it over
        "epochs": 15,
        "weights": "imagenet",
        "image_size": 160,
        "pooled_stages": 2,
        "head": "wide",
        "augmented_views": 0,
        "fine_tune_epochs": 0,
        "fine_tune_at": "100",
        "fine_tune_learning_rate": 0.00001,
    },
    **{
        (ANY, model): {
            **ONE_CYCLE,
            "epochs": 10,
            "learning_rate": 0.004,
            "augmentation": "flip+shift",
            "label_smoothing": 0.1,
        }
        for model in RESIDUAL
    },
    # No weights for it are to be had: it is trained from scratch.
    (ANY, "vit"): {"weights": "none", "image_size": 32, "pooled_stages": 1},
    # `make train` shall take five minutes, set-up and all, on two cores with AVX2.
    ("fashion_mnist", "basic_cnn"): {"epochs": 12, "batch_size": 64, "learning_rate": 0.003},
    ("cifar100", "basic_cnn"): {"epochs": 30, "augmentation": "flip"},
    ("cifar100", "deeper_cnn"): {"augmentation": "flip"},
    ("digits", "basic_ann"): {"epochs": 50, "batch_size": 32},
    ("digits", "basic_cnn"): {"epochs": 30, "batch_size": 32},
    ("digits", "deeper_cnn"): {"epochs": 30, "batch_size": 32},
}

QUICK: dict[Place, Values] = {
    (ANY, ANY): {"epochs": 3},
    (ANY, BACKBONE): {"image_size": 32},
    ("digits", ANY): {"epochs": 10},
}

BEST: dict[Place, Values] = {
    (ANY, "small_resnet"): {"epochs": 20},
    ("fashion_mnist", "basic_ann"): {
        **ONE_CYCLE,
        "epochs": 50,
        "weight_decay": 0.1,
        "dropout_rate": 0.1,
    },
    ("cifar100", "basic_ann"): {
        **ONE_CYCLE,
        "epochs": 50,
        "learning_rate": 0.004,
        "weight_decay": 0.1,
        "dropout_rate": 0.0,
        "augmentation": "flip+shift",
    },
    ("fashion_mnist", "basic_cnn"): {
        **ONE_CYCLE,
        "epochs": 40,
        "batch_size": 128,
        "weight_decay": 0.1,
        "dropout_rate": 0.3,
        "augmentation": "flip",
    },
    ("cifar100", "basic_cnn"): {
        **ONE_CYCLE,
        "epochs": 40,
        "dropout_rate": 0.2,
        "augmentation": "flip+shift",
    },
    ("fashion_mnist", "deeper_cnn"): {
        **ONE_CYCLE,
        "epochs": 30,
        "dropout_rate": 0.2,
        "augmentation": "flip",
    },
    ("cifar100", "deeper_cnn"): {
        **ONE_CYCLE,
        "epochs": 30,
        "dropout_rate": 0.1,
        "augmentation": "flip+shift",
    },
}

STRENGTHS: dict[str, dict[Place, Values]] = {"quick": QUICK, "standard": {}, "best": BEST}

# The settings that a recipe gives.
RECIPE_SETTINGS = frozenset(STANDARD[ANY, ANY] | STANDARD[ANY, BACKBONE])


def recommended(dataset: str, model: str, strength: str = "standard") -> Values:
    """The settings to use where the user gives none; `strength` is one of STRENGTHS."""
    places = [(ANY, ANY), *((ANY, group) for group in groups_of(model)), (dataset, ANY), (dataset, model)]
    values: Values = {}
    for table in (STANDARD, STRENGTHS[strength]):
        for place in places:
            values |= table.get(place, {})
    return values


def groups_of(model: str) -> list[str]:
    """What a model is called in the tables, the general name first."""
    return [BACKBONE, model] if model in BACKBONES else [model]
