"""What the reference states, as plain data: a notebook, "Fashion-MNIST and CIFAR-100 image classification".

`measured` is its own recipe run literally: one seed, two processor cores, a validation split of 0.1, early stopping on
the validation loss with patience 5.
"""

from dataclasses import dataclass

# The data sets, with the networks that are trained on them. The reference has no digits: they take Fashion-MNIST's.
MODELS_OF = {
    "fashion_mnist": ("basic_ann", "basic_cnn", "deeper_cnn"),
    "cifar100": ("basic_ann", "basic_cnn", "resnet50"),
    "digits": ("basic_ann", "basic_cnn", "deeper_cnn"),
}
# Networks that it has not; with recipe=best, or by name, they are trained beside its own.
BEYOND_REFERENCE = {"fashion_mnist": ("small_resnet",), "cifar100": ("deeper_cnn", "small_resnet")}


@dataclass(frozen=True)
class Stated:
    """A network on a data set, as the reference has it.

    Attributes:
        accuracy: on the test images, a share.
        measured: the same of its own recipe, run literally.
        how: under which conditions that was measured.
        parameters, true_parameters: stated, and counted in the layers that the reference has.
        gpu_minutes: of training, stated.
        caveat: why its own recipe cannot give its number; empty where it can.
    """

    dataset: str
    model: str
    accuracy: float
    measured: float
    how: str
    parameters: int
    true_parameters: int
    gpu_minutes: int
    caveat: str = ""


REFERENCE = (
    Stated("fashion_mnist", "basic_ann", 0.88, 0.882, "20 epochs", 100_000, 109_386, 2),
    Stated("fashion_mnist", "basic_cnn", 0.91, 0.902, "13 epochs", 300_000, 225_034, 5),
    Stated("fashion_mnist", "deeper_cnn", 0.92, 0.925, "24 epochs", 800_000, 331_370, 8),
    Stated(
        *("cifar100", "basic_ann", 0.25, 0.078, "the ANN's layers unchanged", 500_000, 408_100, 5),
        caveat="With the ANN's layers unchanged (Dense 128 and 64, dropout 0.2) it reached 7.8 %, not the 25 % that "
        "are stated. Ours is adapted: normalised input, Dense 144 and 96 with batch normalisation.",
    ),
    Stated(
        *("cifar100", "basic_cnn", 0.40, 0.359, "the CNN's layers unchanged"),
        *(800_000, 327_332, 15),
        caveat="With the CNN's layers unchanged it reached 35.9 %, not the 40 % that are stated, and has 327,332 "
        "parameters, not 800,000. Ours is adapted: Dense 320 instead of 128.",
    ),
    Stated(
        *("cifar100", "resnet50", 0.65, 0.124, "literally: x/255, frozen, 32 pixels"),
        *(25_000_000, 24_800_000, 30),
        caveat="Run literally it reached 12.4 %, not the 65 % that are stated: the frozen network gets pixels divided "
        "by 255, which it was not trained on, and is nearly blind. With preprocess_input, and the same head at 32 "
        "pixels, it reached 41.1 %. Ours scales as the network was trained, and sees larger images where "
        "the recipe says so.",
    ),
)  # fmt: skip


def stated_of(dataset: str, model: str) -> Stated | None:
    """What the reference states of a network on a data set; None: nothing."""
    return next((each for each in REFERENCE if (each.dataset, each.model) == (dataset, model)), None)


@dataclass(frozen=True)
class StatedGap:
    """By how many percentage points one network is stated to be better than another on a data set."""

    title: str
    dataset: str
    better: str
    other: str
    stated: str


GAPS = (
    StatedGap("CNN over ANN", "fashion_mnist", "basic_cnn", "basic_ann", "3 to 4 points"),
    StatedGap("CNN over ANN", "cifar100", "basic_cnn", "basic_ann", "15 points"),
    StatedGap("deeper over basic CNN", "fashion_mnist", "deeper_cnn", "basic_cnn", "about 1 point"),
    StatedGap("transfer over basic CNN", "cifar100", "resnet50", "basic_cnn", "25 points"),
)

# Of Fashion-MNIST.
CONFUSED = (("Shirt", "T-shirt/top"), ("Shirt", "Pullover"), ("Coat", "Pullover"), ("Sandal", "Sneaker"))
EASY = {"Bag": "about 95 %", "Trouser": "easy", "Ankle boot": "easy"}

# Of CIFAR-100, by its superclasses.
VEHICLES = ("vehicles_1", "vehicles_2")
ANIMALS = (
    *("aquatic_mammals", "fish", "large_carnivores", "large_omnivores_and_herbivores", "medium_mammals"),
    *("non-insect_invertebrates", "reptiles", "small_mammals"),
)
