"""Typed, frozen settings: one line is one field, one --flag, one -P of `mlflow run` and one MLflow parameter.

Kept light (no TensorFlow, no MLflow): `--help` and a wrong value answer at once.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from imagelab.data import DATASETS
from imagelab.errors import SettingsError
from imagelab.models import BACKBONES, MODELS
from imagelab.recipes import recommended
from imagelab.settings.parsing import did_you_mean, validate


def one_of(table: Sequence[str]) -> AfterValidator:
    """A validator for the names of a table; its error lists them and names the nearest."""

    def check(name: str) -> str:
        if name in table:
            return name
        raise ValueError(f"must be one of {', '.join(table)}{did_you_mean(name, table)}")

    return AfterValidator(check)


def run_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise ValueError("must be an MLflow run id, 32 hexadecimal digits")
    return text


def readable_folder(path: Path) -> Path:
    if path == Path() or not path.is_dir():
        raise ValueError("must be an existing folder")
    return path


def known_weights(text: str) -> str:
    if text in ("imagenet", "none"):
        return text
    if not text.endswith((".weights.h5", ".keras", ".h5")):
        raise ValueError("must be imagenet, none, or the path of a .weights.h5 or .keras file")
    if not Path(text).expanduser().is_file():
        raise ValueError("there is no such file")
    return text


# The settings of backbones; the other networks have none of them.
OF_BACKBONES = (
    *("weights", "image_size", "pooled_stages", "head", "augmented_views"),
    *("fine_tune_epochs", "fine_tune_at", "fine_tune_learning_rate"),
)

RunId = Annotated[str, AfterValidator(run_id)]
DataSetName = Annotated[str, one_of(DATASETS), Field(examples=list(DATASETS))]
ModelName = Annotated[str, one_of(MODELS), Field(examples=list(MODELS))]
Folder = Annotated[Path, AfterValidator(readable_folder)]


class TrainSettings(BaseModel):
    """Train one network on one data set and leave a run that holds everything."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    dataset: DataSetName = Field("fashion_mnist", description="data set to learn")
    model: ModelName = Field("basic_cnn", description="architecture to train")
    epochs: int | None = Field(None, ge=1, le=10_000, description="most passes over the training split")
    batch_size: int | None = Field(None, ge=1, le=65_536, description="images a step")
    learning_rate: float | None = Field(None, gt=0, le=10, description="step size of Adam (its peak, under a schedule)")
    learning_rate_schedule: Literal["constant", "cosine"] | None = Field(
        None, description="how it changes: not at all, or down to 0 along a cosine over all epochs"
    )
    dropout_rate: float | None = Field(
        None, ge=0, lt=1, description="replaces the rate of every dropout layer; not given: the network's own rates"
    )
    label_smoothing: float | None = Field(None, ge=0, lt=1, description="share of the target spread over all classes")
    augmentation: Literal["none", "shift", "flip", "flip_shift"] | None = Field(
        None, description="random changes of training images: mirrored, moved by up to a tenth, both or neither"
    )
    weights: Annotated[str, AfterValidator(known_weights)] | None = Field(
        None,
        description="a backbone's weights: Keras's, none to train all of it from scratch, or a file of them",
        examples=["imagenet", "none", "the path of a .weights.h5 or .keras file"],
    )
    image_size: int | None = Field(None, ge=32, le=1024, description="side in pixels of what a backbone sees")
    pooled_stages: int | None = Field(
        None, ge=1, le=3, description="last stages of a backbone whose averages over the picture are its features"
    )
    head: Literal["linear", "wide", "mlp"] | None = Field(
        None, description="what stands on a backbone: one dense layer, Dense 1024 before it, or Dense 512 and 256"
    )
    augmented_views: int | None = Field(
        None, ge=0, le=7, description="augmented copies of each image that a head learns from besides the plain one"
    )
    fine_tune_epochs: int | None = Field(
        None, ge=0, le=10_000, description="most epochs of fine-tuning, after the head was trained on a frozen backbone"
    )
    fine_tune_at: str | None = Field(
        None, description="first layer of the backbone to fine-tune: its name, its number, or a share of all (0.7)"
    )
    fine_tune_learning_rate: float | None = Field(None, gt=0, le=10, description="step size of Adam in fine-tuning")
    feature_cache_limit: float = Field(20, gt=0, description="GiB that features kept on disk may take, of all runs")
    seed: int = Field(0, ge=0, lt=2**31, description="fixes split, weights, shuffling and dropout")
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of the training images, stratified, that chooses the best epoch"
    )
    early_stopping_patience: int = Field(
        5, ge=0, le=10_000, description="epochs without a better val_loss before stopping; 0: never stop early"
    )
    mixed_precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="number format of the layers; auto: bfloat16 where the processor or GPU has it, else float32",
    )
    limit: int | None = Field(None, ge=20, description="train on the first n images only, for a quick look")
    data_dir: Folder | None = Field(
        None, description="folder to look for the data set's files in, before Keras's cache"
    )
    note: str = Field("", max_length=5000, description="free text, shown as the run's description")
    upload_patience: float = Field(
        300, ge=0, description="seconds to wait at the end for a tracking server that has gone away"
    )
    resume: RunId | None = Field(None, description="id of an interrupted run to continue with its own settings")

    @field_validator(*OF_BACKBONES)
    @classmethod
    def concerns_the_network(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what the network does not know, so that nobody believes that it had an effect."""
        model, weights = info.data.get("model"), info.data.get("weights")
        if value is not None and model not in (None, *BACKBONES):
            raise ValueError(f"model={model} has no such setting; the backbones have: {', '.join(BACKBONES)}")
        if value and weights == "none" and info.field_name in ("augmented_views", "fine_tune_epochs"):
            raise ValueError("weights=none trains the whole network at once, with nothing frozen")
        return value

    @field_validator("limit")
    @classmethod
    def leaves_images_to_validate_on(cls, limit: int | None, info: ValidationInfo) -> int | None:
        fraction = info.data.get("validation_fraction")
        if limit is not None and fraction is not None and not 0 < round(limit * fraction) < limit:
            raise ValueError(f"with validation_fraction={fraction:g} no images are left to train or to validate on")
        return limit

    def with_recipe(self) -> "TrainSettings":
        """These settings, with what was not given taken from the recipe for this data set and model.

        Raises:
            SettingsError: what was given does not go with the recipe, or has no effect.
        """
        recipe = recommended(self.dataset, self.model)
        missing = {name: value for name, value in recipe.items() if getattr(self, name) is None}
        complete = validate(type(self), {**self.model_dump(), **missing})
        if complete.weights not in (None, "none") and not complete.fine_tune_epochs:
            self.refuse_what_has_no_effect()
        return complete

    def refuse_what_has_no_effect(self) -> None:
        """Of a backbone that stays frozen: nobody shall believe that it was fine-tuned, or saw augmented images."""
        for name in ("fine_tune_at", "fine_tune_learning_rate"):
            if (value := getattr(self, name)) is not None:
                raise SettingsError(f"{name}={value}: has no effect without fine_tune_epochs; give that too")
        if self.augmentation not in (None, "none"):
            raise SettingsError(
                f"augmentation={self.augmentation}: has no effect on a frozen backbone, whose head learns from "
                "features; give augmented_views, or fine_tune_epochs"
            )

    def given(self) -> dict[str, Any]:
        """What the user has set to something else than its default, as plain values (`resume` itself left out).

        A value equal to the default cannot be told from none: `mlflow run` passes the defaults of MLproject too.
        """
        values = self.model_dump(mode="json", exclude={"resume"}, exclude_unset=True)
        return {name: value for name, value in values.items() if value != type(self).model_fields[name].default}

    def arguments_of(self, function: Callable[..., Any]) -> dict[str, Any]:
        """The settings that a function takes under the same name; data set and model are things to it, not names."""
        wanted = set(inspect.signature(function).parameters) - {"dataset", "model"}
        return {name: getattr(self, name) for name in type(self).model_fields if name in wanted}
