"""The settings of every command that trains: one field is one --flag, one -P of `mlflow run` and one MLflow parameter.

Kept light (no TensorFlow, no MLflow): `--help` and a wrong value answer at once.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from imagelab.errors import SettingsError
from imagelab.models import BACKBONES, stages_of
from imagelab.recipes import OFF, PLATEAU_PATIENCE, recommended
from imagelab.settings.command_line import validate
from imagelab.settings.kinds import Kind, names_of_kind
from imagelab.settings.techniques import Techniques
from imagelab.settings.values import UPLOAD_PATIENCE, DataFolder, Note, RunId, SettingsFile, UploadPatience, WeightsName

CHANGES_OF_IMAGES = ("augmentation", "mixup", "cutmix")


class ExperimentSettings(Techniques):
    """What decides a training. A setting that is None takes the recipe's value; see `with_recipe`."""

    weights: Annotated[WeightsName | None, Kind.BACKBONE] = Field(
        None,
        description="a backbone's weights: Keras's, none to train all of it from scratch, or a file of them",
        examples=["imagenet", "none", "the path of a .weights.h5 or .keras file"],
    )
    image_size: Annotated[int | None, Kind.BACKBONE] = Field(
        None, ge=32, le=1024, description="side in pixels of what a backbone sees"
    )
    pooled_stages: Annotated[int | None, Kind.BACKBONE] = Field(
        None, ge=1, le=3, description="last stages of a backbone whose averages over the picture are its features"
    )
    head: Annotated[Literal["linear", "wide", "mlp"] | None, Kind.BACKBONE] = Field(
        None, description="what stands on a backbone: one dense layer, Dense 1024 before it, or Dense 512 and 256"
    )
    augmented_views: Annotated[int | None, Kind.BACKBONE] = Field(
        None, ge=0, le=7, description="augmented copies of each image that a head learns from besides the plain one"
    )
    fine_tune_epochs: Annotated[int | None, Kind.BACKBONE] = Field(
        None, ge=0, le=10_000, description="most epochs of fine-tuning, after the head was trained on a frozen backbone"
    )
    fine_tune_at: Annotated[str | None, Kind.BACKBONE] = Field(
        None, description="first layer of the backbone to fine-tune: its name, its number, or a share of all (0.7)"
    )
    fine_tune_learning_rate: Annotated[float | None, Kind.BACKBONE] = Field(
        None, gt=0, le=10, description="step size in fine-tuning"
    )
    feature_cache_limit: Annotated[float, Kind.OPERATIONAL] = Field(
        20, gt=0, description="GiB that features kept on disk may take, of all runs"
    )
    seed: Annotated[int, Kind.CHANCE] = Field(
        0, ge=0, lt=2**31, description="fixes weights, shuffling, augmentation and dropout"
    )
    split_seed: Annotated[int, Kind.SPLIT] = Field(
        0, ge=0, lt=2**31, description="fixes which training images are kept for validation"
    )
    validation_fraction: Annotated[float, Kind.SPLIT] = Field(
        0.1, gt=0, lt=1, description="share of the training images, stratified, that chooses the best epoch"
    )
    monitor: Literal["val_loss", "val_accuracy"] | None = Field(
        None, description="what chooses the best epoch, stops early and lowers the rate on a plateau"
    )
    early_stopping_patience: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="epochs without a better one (by monitor) before stopping; 0: never stop early",
    )
    time_limit: float | None = Field(
        None, gt=0, description="minutes of training: an epoch that would end later is not begun; not given: any"
    )
    mixed_precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="number format of the layers; auto: bfloat16 where it is faster here, else float32",
    )
    limit: Annotated[int | None, Kind.SPLIT] = Field(
        None, ge=20, description="train on the first n images only, for a quick look"
    )
    data_dir: Annotated[DataFolder, Kind.OPERATIONAL] = None
    like: Annotated[RunId | None, Kind.OPERATIONAL] = Field(
        None, description="id of a training to take all settings from that are not given"
    )
    settings: Annotated[SettingsFile | None, Kind.OPERATIONAL] = Field(
        None, description="file to take settings from that are not given", examples=["the path of a YAML file"]
    )
    note: Annotated[Note, Kind.OPERATIONAL] = ""
    upload_patience: Annotated[UploadPatience, Kind.OPERATIONAL] = UPLOAD_PATIENCE

    @field_validator("*")
    @classmethod
    def concerns_the_network(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what the network does not know, so that nobody believes that it had an effect."""
        if value is None or info.field_name not in names_of_kind(cls, Kind.BACKBONE):
            return value
        model, weights = info.data.get("model"), info.data.get("weights")
        if model not in (None, *BACKBONES):
            raise ValueError(f"model={model} has no such setting; the backbones have: {', '.join(BACKBONES)}")
        if value and weights == "none" and info.field_name in ("augmented_views", "fine_tune_epochs"):
            raise ValueError("weights=none trains the whole network at once, with nothing frozen")
        return value

    @field_validator("pooled_stages")
    @classmethod
    def has_so_many_stages(cls, pooled_stages: int | None, info: ValidationInfo) -> int | None:
        model = info.data.get("model")
        if pooled_stages is not None and model in BACKBONES and pooled_stages > (most := stages_of(model)):
            raise ValueError(f"model={model} has {most} to choose from")
        return pooled_stages

    @field_validator("time_limit")
    @classmethod
    def knows_how_long_epochs_take(cls, time_limit: float | None, info: ValidationInfo) -> float | None:
        if time_limit and info.data.get("progressive") not in (None, "none"):
            raise ValueError("does not go with progressive, whose last epochs take longest: give fewer epochs")
        return time_limit

    @field_validator("limit")
    @classmethod
    def leaves_images_to_validate_on(cls, limit: int | None, info: ValidationInfo) -> int | None:
        fraction = info.data.get("validation_fraction")
        if limit is not None and fraction is not None and not 0 < round(limit * fraction) < limit:
            raise ValueError(f"with validation_fraction={fraction:g} no images are left to train or to validate on")
        return limit

    @model_validator(mode="after")
    def begins_with_one(self) -> Self:
        if self.like and self.settings:
            raise ValueError(f"like={self.like} and settings={self.settings}: give one of them")
        return self

    @property
    def left_open(self) -> set[str]:
        """Settings that the command finds itself: they are not taken over from the run that `like` names."""
        return set()

    def with_recipe(self) -> Self:
        """These settings, with what was not given taken from the recipe for this data set and model.

        Raises:
            SettingsError: what was given does not go with the recipe, or has no effect.
        """
        recipe = recommended(self.dataset, self.model, self.recipe)
        missing = {name: value for name, value in recipe.items() if getattr(self, name) is None}
        complete = validate(type(self), {**self.model_dump(exclude_unset=True), **missing})
        is_frozen = complete.weights not in (None, "none")
        if is_frozen and not complete.fine_tune_epochs:
            self.refuse_what_has_no_effect()
        complete.refuse_too_few_epochs(complete.epochs or 1)
        if is_frozen and complete.fine_tune_epochs:
            complete.refuse_too_few_epochs(complete.fine_tune_epochs)
        if (
            complete.learning_rate_schedule == "plateau"
            and 0 < (complete.early_stopping_patience or 0) <= PLATEAU_PATIENCE
        ):
            raise SettingsError(
                f"early_stopping_patience={complete.early_stopping_patience}: ends the training before plateau lowers "
                f"the rate, after {PLATEAU_PATIENCE} epochs without a better {complete.monitor}; take more, or 0"
            )
        return complete

    def of_training(self) -> "ExperimentSettings":
        """Those that each training of a command has, without the command's own; not yet completed by the recipe."""
        given = self.model_dump(exclude_unset=True, include=set(ExperimentSettings.model_fields))
        return ExperimentSettings.model_validate(given)

    def refuse_what_has_no_effect(self) -> None:
        """Of a backbone that stays frozen: nobody shall believe that it was fine-tuned, or saw augmented images."""
        for name in ("fine_tune_at", "fine_tune_learning_rate"):
            if (value := getattr(self, name)) is not None:
                raise SettingsError(f"{name}={value}: has no effect without fine_tune_epochs; give that too")
        for name in CHANGES_OF_IMAGES:
            if (value := getattr(self, name)) not in (None, "none", 0):
                raise SettingsError(
                    f"{name}={value}: has no effect on a frozen backbone, whose head learns from features; "
                    "give augmented_views, or fine_tune_epochs"
                )

    def given(self) -> dict[str, Any]:
        """What the user has set to something else than its default, as plain values.

        What is taken over from another run or a file counts as set. A value equal to the default cannot be told from
        none: `mlflow run` passes the defaults of MLproject too.
        """
        values = self.model_dump(mode="json", exclude_unset=True, exclude={"like", "settings"})
        return {name: value for name, value in values.items() if value != type(self).model_fields[name].default}

    def to_type(self) -> dict[str, Any]:
        """What one types to train with these settings; the recipe has the rest."""
        return {"dataset": self.dataset, "model": self.model, **self.of_training().given()}

    def as_tag(self) -> str:
        """What decides the training, as one line of JSON: runs are compared by it, without downloading anything."""
        hidden = {"resume", "seed" if getattr(self, "seeds", None) else "seeds"}  # those of one training and of several
        return self.model_dump_json(exclude=set(names_of_kind(type(self), Kind.OPERATIONAL)) | hidden)

    def arguments_of(self, function: Callable[..., Any]) -> dict[str, Any]:
        """The settings that a function or class takes under the same name; to it, `dataset` is the data itself."""
        wanted = set(inspect.signature(function).parameters) - {"dataset"}
        return {name: getattr(self, name) for name in type(self).model_fields if name in wanted}


def of_record(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run has recorded, with those that are younger than the run.

    In runs without `split_seed`, `seed` fixed the split, too; techniques that they do not name were off,
    and val_loss chose the best epoch.
    """
    renamed = {"augmentation": "flip+shift"} if values.get("augmentation") == "flip_shift" else {}
    return {**OFF, "monitor": "val_loss", "split_seed": values.get("seed", 0), **values, **renamed}
