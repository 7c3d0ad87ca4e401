"""What a training is to do, as one value."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class FitPlan:
    """All that decides what a training makes of a data set and its split, each under the name of its setting.

    The settings are described in `settings/techniques.py` and `experiment.py`; from `weights` on they are those of
    networks with a backbone, and None in others. `dtype_policy` is Keras's, see `choose_dtype_policy`.
    """

    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    learning_rate_schedule: str
    label_smoothing: float
    augmentation: str
    early_stopping_patience: int
    seed: int
    dtype_policy: str
    dropout_rate: float | None
    optimizer: str
    warmup_epochs: int
    weight_decay: float | None
    gradient_clipping: float
    gradient_accumulation: int
    l2: float
    class_weight: str
    mixup: float
    cutmix: float
    mix_off_epochs: int
    progressive: str
    ema: float
    average_epochs: int
    stochastic_depth: float
    time_limit: float | None = None

    teacher: str | None = None
    distillation_weight: float | None = None
    distillation_temperature: float | None = None

    weights: str | None = None
    image_size: int | None = None
    pooled_stages: int | None = None
    head: str | None = None
    augmented_views: int | None = None
    fine_tune_epochs: int | None = None
    fine_tune_at: str | None = None
    fine_tune_learning_rate: float | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether a head is trained on the features of a pretrained backbone first."""
        return self.weights not in (None, "none")

    @property
    def features_key(self) -> tuple[Any, ...]:
        """What the features of a frozen backbone depend on besides the images."""
        of_network = (self.model, self.weights, self.image_size, self.pooled_stages)
        return *of_network, self.augmented_views, self.dtype_policy

    def of_head(self) -> "FitPlan":
        """The plan of the first phase, in which a head learns from features: no images that could be changed."""
        return replace(self, augmentation="none", mixup=0.0, cutmix=0.0)

    def of_fine_tuning(self) -> "FitPlan":
        """The plan of the second phase, in which the last layers of the backbone are trained, too."""
        epochs, learning_rate = self.fine_tune_epochs or 0, self.fine_tune_learning_rate or self.learning_rate
        return replace(self, epochs=epochs, learning_rate=learning_rate)

    def fitted_to_time(self, epochs: int) -> "FitPlan":
        """The plan with at most so many epochs, two of which are over; what lasts too long for them is shortened."""
        if epochs >= self.epochs:
            return self
        average_epochs = min(self.average_epochs, max(0, epochs - 2))
        warmup_epochs = min(self.warmup_epochs, epochs - 1)
        return replace(self, epochs=epochs, warmup_epochs=warmup_epochs, average_epochs=average_epochs)

    def of_rising_rate(self, epochs: int) -> "FitPlan":
        """The plan of a training whose rate somebody else sets at each step."""
        plan = replace(self, epochs=epochs, learning_rate_schedule="constant")
        return replace(plan, warmup_epochs=0, mix_off_epochs=0, average_epochs=0)

    @property
    def changes_at_each_step(self) -> str:
        """The augmentation that is drawn at each step; views that a teacher has seen are made before."""
        return "none" if self.teacher else self.augmentation

    @property
    def sizes(self) -> list[int]:
        """Height and width of the training images in each epoch; empty where all are whole.

        Each size has an equal share of the epochs; where they do not divide, the later ones have one more.
        """
        sizes = [] if self.progressive == "none" else [int(size) for size in self.progressive.split(":")]
        return [sizes[((epoch + 1) * len(sizes) - 1) // self.epochs] for epoch in range(self.epochs) if sizes]

    @property
    def first_whole_epoch(self) -> int:
        """Number of the first epoch, from 0, whose images are whole: what networks score before says little."""
        return self.sizes.index(self.sizes[-1]) if self.sizes else 0

    @property
    def changes_images(self) -> bool:
        """Whether the network learns from changed images."""
        return self.augmentation != "none" or bool(self.mixup or self.cutmix or self.sizes)

    @property
    def network_options(self) -> dict[str, Any]:
        """What `models.build_model` wants to know besides the model and the shapes."""
        names = ("dropout_rate", "image_size", "weights", "head", "pooled_stages", "stochastic_depth")
        return {name: getattr(self, name) for name in names}
