"""The settings of batch prediction: which images, which model, where the answers go."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from imagelab.mlflow_command import from_folder_typed_in
from imagelab.settings.registered import Alias, RegisteredModelSettings

ONLY_OF = {"workers": "local", "master": "spark"}  # settings that the other engine has not


def not_empty(path: object) -> object:
    if path == "":
        raise ValueError("must be a path")
    return path


def existing(path: Path) -> Path:
    """The path, as it stays right for processes that work in another folder."""
    path = from_folder_typed_in(path).absolute()
    if not path.exists():
        raise ValueError(f"there is no such file or folder (looked for: {path})")
    return path


ImagesPath = Annotated[Path, BeforeValidator(not_empty), AfterValidator(existing)]


class PredictSettings(RegisteredModelSettings):
    """Classify many images by a registered model, into one Parquet file; the same command goes on after a break."""

    images: ImagesPath | None = Field(
        None,
        description="what to classify",
        examples=["a folder of images", "a Parquet file with a column image", "a folder of such files"],
    )
    output: Annotated[Path, BeforeValidator(not_empty)] = Field(
        Path("predictions.parquet"),
        validate_default=True,
        description="where the answers go",
        examples=["the path of a .parquet file"],
    )
    overwrite: bool = Field(False, description="replace an output that is there")
    alias: Alias = Field("champion", description="alias of the version that answers")
    version: int | None = Field(None, ge=1, description="version that answers; not given: the one behind the alias")
    top_k: int | None = Field(None, ge=1, description="likeliest classes to name in the column top; not given: 5")
    batch_size: int = Field(
        128,
        ge=1,
        le=4096,
        description="images that go through the network at once; another size may change a probability by 0.00001",
    )
    engine: Literal["local", "spark"] = Field("local", description="this process, or Apache Spark")
    workers: int | None = Field(
        None, ge=1, le=256, description="threads that decode images (engine=local); not given: one a core"
    )
    master: str | None = Field(
        None,
        description="where Spark runs (engine=spark); not given: here, on as many cores as memory allows",
        examples=["local[4]", "spark://HOST:7077"],
    )

    @field_validator("output")
    @classmethod
    def can_be_written(cls, path: Path) -> Path:
        path = from_folder_typed_in(path).absolute()
        if path.suffix != ".parquet":
            raise ValueError("must end in .parquet")
        if path.is_dir():
            raise ValueError("is a folder")
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise ValueError(f"{path.parent} must be a folder that can be written to")
        return path

    @model_validator(mode="after")
    def goes_together(self) -> "PredictSettings":
        if self.images is None:
            raise ValueError("images: is missing; give a folder of images or a Parquet file, as in -P images=photos")
        if self.output in (self.images, *self.images.parents):
            raise ValueError(f"output={self.output}: would replace the images themselves")
        if self.version is not None and "alias" in self.model_fields_set:
            raise ValueError(f"version={self.version} and alias={self.alias}: give one of them")
        for name, engine in ONLY_OF.items():
            if getattr(self, name) is not None and self.engine != engine:
                raise ValueError(f"{name}={getattr(self, name)}: has no effect with engine={self.engine}")
        return self

    @property
    def images_path(self) -> Path:
        assert self.images is not None  # goes_together
        return self.images
