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
from imagelab.models import MODELS
from imagelab.recipes import recommended
from imagelab.settings.parsing import did_you_mean


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

    @field_validator("limit")
    @classmethod
    def leaves_images_to_validate_on(cls, limit: int | None, info: ValidationInfo) -> int | None:
        fraction = info.data.get("validation_fraction")
        if limit is not None and fraction is not None and not 0 < round(limit * fraction) < limit:
            raise ValueError(f"with validation_fraction={fraction:g} no images are left to train or to validate on")
        return limit

    def with_recipe(self) -> "TrainSettings":
        """These settings, with what was not given taken from the recipe for this data set and model."""
        recipe = recommended(self.dataset, self.model)
        missing = {name: value for name, value in recipe.items() if getattr(self, name) is None}
        return type(self).model_validate({**self.model_dump(), **missing})

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
