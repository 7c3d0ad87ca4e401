"""What is learned by which network, and by which techniques: the first half of an experiment's settings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from imagelab.console import how_many
from imagelab.data import AUGMENTATIONS, IMAGE_SIZES
from imagelab.errors import SettingsError
from imagelab.models import BACKBONES, RESIDUAL
from imagelab.recipes import PLATEAU_PATIENCE
from imagelab.settings.kinds import Kind
from imagelab.settings.values import DataSetName, ModelName, augmentation_tokens, rising_sizes

LEAST_ALPHA = 0.05  # of mixup and CutMix


class Techniques(BaseModel):
    """Each but the data set, model and recipe is searchable by tune; a value that is None takes the recipe's."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    dataset: Annotated[DataSetName, Kind.SPLIT] = Field("fashion_mnist", description="data set to learn")
    model: ModelName = Field("basic_cnn", description="architecture to train")
    recipe: Annotated[Literal["quick", "standard", "best"], Kind.RECIPE] = Field(
        "standard", description="recommended settings that fill in what is not given: a first look, the usual, the best"
    )
    epochs: int | None = Field(None, ge=1, le=10_000, description="most passes over the training split")
    batch_size: int | None = Field(None, ge=1, le=65_536, description="images a step")
    optimizer: Literal["adam", "adamw", "sgd", "lion"] | None = Field(
        None, description="Adam, Adam with weight decay, SGD with Nesterov momentum 0.9, or Lion"
    )
    learning_rate: float | None = Field(
        None, gt=0, le=10, description="step size (its peak, under a schedule); the recipes' is meant for Adam"
    )
    learning_rate_schedule: Literal["constant", "cosine", "linear", "one_cycle", "plateau"] | None = Field(
        None,
        description="how it changes: not at all, down to 0 along a cosine or a line, up and down once, or halved after "
        f"{PLATEAU_PATIENCE} epochs without a better one (by monitor)",
    )
    warmup_epochs: int | None = Field(
        None, ge=0, le=10_000, description="first epochs, in which the rate rises to its peak"
    )
    weight_decay: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of each kernel that a step of size 1 takes away; nowhere given: 0.004 for adamw, else 0",
    )
    gradient_clipping: float | None = Field(
        None, ge=0, le=1e6, description="longest gradient (norm over all weights); longer ones are shortened; 0: any"
    )
    gradient_accumulation: int | None = Field(
        None, ge=1, le=10_000, description="batches whose mean gradient makes one update"
    )
    dropout_rate: float | None = Field(
        None, ge=0, lt=1, description="replaces the rate of every dropout layer; not given: the network's own rates"
    )
    l2: float | None = Field(
        None, ge=0, le=1, description="strength of the L2 penalty on kernels, which is part of loss and val_loss"
    )
    label_smoothing: float | None = Field(None, ge=0, lt=1, description="share of the target spread over all classes")
    class_weight: Literal["none", "balanced"] | None = Field(
        None, description="balanced: a rare class weighs more in the loss, by the inverse of its share"
    )
    augmentation: Annotated[str, AfterValidator(augmentation_tokens)] | None = Field(
        None,
        description="random changes of training images, drawn anew in each epoch",
        examples=[f"none, or some of {', '.join(AUGMENTATIONS)} joined by +"],
    )
    mixup: float | None = Field(
        None, ge=0, le=100, description="alpha of mixup, which blends each image and its label with another's; 0: off"
    )
    cutmix: float | None = Field(
        None, ge=0, le=1, description="alpha of CutMix, which pastes a part of another image and its label; 0: off"
    )
    mix_off_epochs: int | None = Field(None, ge=0, le=10_000, description="last epochs without mixup and CutMix")
    progressive: Annotated[str, AfterValidator(rising_sizes)] | None = Field(
        None,
        description="sizes of training images, each for an equal part of the epochs",
        examples=["none, or rising sizes in pixels joined by colons, such as 16:24:32"],
    )
    ema: float | None = Field(
        None, ge=0, lt=1, description="decay a batch of the moving average of weights, which is tested and kept; 0: off"
    )
    average_epochs: int | None = Field(
        None, ge=0, le=10_000, description="last epochs whose networks' mean is tested and kept; 0: off"
    )

    stochastic_depth: float | None = Field(
        None, ge=0, lt=1, description="how often a residual network's last block is skipped; earlier ones less often"
    )

    @field_validator("stochastic_depth")
    @classmethod
    def has_blocks_to_skip(cls, stochastic_depth: float | None, info: ValidationInfo) -> float | None:
        if stochastic_depth and (model := info.data.get("model")) not in (None, *RESIDUAL):
            raise ValueError(f"model={model} has no blocks that could be skipped; these have: {', '.join(RESIDUAL)}")
        return stochastic_depth

    @field_validator("progressive")
    @classmethod
    def fits_what_is_trained(cls, progressive: str | None, info: ValidationInfo) -> str | None:
        dataset, model = info.data.get("dataset"), info.data.get("model")
        if progressive in (None, "none"):
            return progressive
        if model in BACKBONES:
            raise ValueError(f"model={model} resizes images itself; give image_size")
        if model not in (None, *RESIDUAL):
            raise ValueError(f"model={model} takes images of one size; these take any: {', '.join(RESIDUAL)}")
        if dataset and int(progressive.split(":")[-1]) != (size := IMAGE_SIZES[dataset]):
            raise ValueError(f"must end with {size}, the size of the images of {dataset}")
        if info.data.get("learning_rate_schedule") == "plateau":
            raise ValueError("does not go with plateau: validation scores say little before the last size")
        return progressive

    @field_validator("mixup", "cutmix")
    @classmethod
    def is_drawn_rightly(cls, alpha: float | None) -> float | None:
        if alpha and alpha < LEAST_ALPHA:
            raise ValueError(f"must be 0, or at least {LEAST_ALPHA}: below that Keras draws wrong shares")
        return alpha

    @field_validator("average_epochs")
    @classmethod
    def averages_once(cls, average_epochs: int | None, info: ValidationInfo) -> int | None:
        if average_epochs and (ema := info.data.get("ema")):
            raise ValueError(f"ema={ema:g} averages the weights, too; give one of them")
        return average_epochs

    def refuse_too_few_epochs(self, epochs: int) -> None:
        """Of a phase that has these techniques: what lasts as long as all of it, or comes too late, has no effect.

        Raises:
            SettingsError: such a setting.
        """
        mixes = self.mixup or self.cutmix
        too_long = {
            "warmup_epochs": self.warmup_epochs,
            "mix_off_epochs": mixes and self.mix_off_epochs,
            "average_epochs": self.average_epochs,
        }
        for name, value in too_long.items():
            if value and value >= epochs:
                raise SettingsError(f"{name}={value}: must be fewer than the {how_many(epochs, 'epoch')}")
        if self.progressive and self.progressive.count(":") >= epochs:
            raise SettingsError(f"progressive={self.progressive}: has more sizes than there are epochs ({epochs})")
        whole = -(-epochs // ((self.progressive or "").count(":") + 1))
        if self.average_epochs and self.average_epochs > whole:
            raise SettingsError(
                f"average_epochs={self.average_epochs}: must be at most {whole}, the epochs at the last size of "
                f"progressive={self.progressive}"
            )
