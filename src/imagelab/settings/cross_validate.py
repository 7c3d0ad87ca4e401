"""The settings of a cross-validation: those of a training, and the number of folds."""

from typing import Annotated, Any

from pydantic import Field

from imagelab.settings.experiment import ExperimentSettings
from imagelab.settings.kinds import Kind
from imagelab.settings.train import TrainSettings


class CrossValidateSettings(ExperimentSettings):
    """Train one network once a fold, without the fold's images, and report how well it does on them.

    The same command goes on where it was interrupted.
    """

    folds: Annotated[int, Kind.SPLIT] = Field(
        5, ge=2, le=50, description="parts of the training images, each left out of one training and scored by it"
    )

    audit: Annotated[bool, Kind.OPERATIONAL] = Field(
        False, description="look for wrong labels, copies and odd images in the data set; goes on with a finished one"
    )

    def of_training(self) -> TrainSettings:
        """What each fold is trained with."""
        return TrainSettings.model_validate(self.model_dump(exclude_unset=True, exclude={"folds", "audit"}))

    def record(self) -> dict[str, Any]:
        """What the parent run records, as plain values."""
        return self.model_dump(mode="json")
