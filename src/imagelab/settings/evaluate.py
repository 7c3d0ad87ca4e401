"""The settings of an evaluation: which network, on which images, and what is tried to better its answers."""

from typing import Literal

from pydantic import Field, model_validator

from imagelab.settings.named_network import NamedNetworkSettings
from imagelab.settings.predict import ImagesPath
from imagelab.settings.values import DataFolder


class EvaluateSettings(NamedNetworkSettings):
    """Score a trained network on images that it did not learn from, beside the figures of its own run."""

    split: Literal["test", "validation"] = Field(
        "test", description="part of its own data set that it is evaluated on: the split that its run has stored"
    )
    images: ImagesPath | None = Field(
        None,
        description="images to evaluate it on instead",
        examples=["a folder with a folder of images for each class", "a Parquet file with columns image and label"],
    )
    label_column: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="column of a Parquet file that holds names of classes; not given: label",
    )
    batch_size: int = Field(128, ge=1, le=4096, description="images that go through the network at once")
    tta: Literal["none", "flip", "flip_shift"] = Field(
        "none", description="answer with the mean over views of each image: mirrored (2), and moved too (10)"
    )
    calibrate: bool = Field(
        False, description="fit a temperature on the validation images, and log the calibrated network as a model"
    )
    data_dir: DataFolder = None

    @model_validator(mode="after")
    def goes_together(self) -> "EvaluateSettings":
        if self.images and "split" in self.model_fields_set:
            raise ValueError(f"split={self.split} and images={self.images}: give one of them")
        if self.images is None and self.label_column is not None:
            raise ValueError(
                f"label_column={self.label_column}: has no effect without images; give images=FILE.parquet"
            )
        if self.calibrate and self.tta != "none":
            raise ValueError(
                f"calibrate=true and tta={self.tta}: one after the other; evaluate the calibrated network with tta"
            )
        return self
