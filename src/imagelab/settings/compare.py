"""The settings of a comparison: which runs, how many of them, where the report goes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from imagelab.data import DATASETS
from imagelab.mlflow_command import from_folder_typed_in
from imagelab.models import REGISTRABLE
from imagelab.settings.command_line import did_you_mean
from imagelab.settings.values import RunId, run_id


def split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def names_of(table: Sequence[str]) -> AfterValidator:
    """A validator of names joined by commas; its error lists what is known."""

    def check(text: str) -> str:
        for name in split(text):
            if name not in table:
                raise ValueError(f"must be among {', '.join(table)}{did_you_mean(name, table)}")
        return ",".join(dict.fromkeys(split(text)))

    return AfterValidator(check)


def run_ids(text: str) -> str:
    for word in split(text):
        run_id(word)
    return ",".join(dict.fromkeys(split(text)))


def name_and_value(text: str) -> str:
    name, equals, value = text.partition("=")
    if not (name and equals and value) or "`" in name:
        raise ValueError("must be NAME=VALUE, as in -P tag=team=vision")
    return text


def quotable(text: str) -> str:
    """MLflow's filters have no way to write a text with both."""
    if not text or ("'" in text and '"' in text):
        raise ValueError("must be text that has not both kinds of quotation marks")
    return text


def is_given(path: object) -> object:
    if path == "":
        raise ValueError("must be the path of a folder")
    return path


def output_folder(path: Path) -> Path:
    """The absolute path of a folder that is there or can be made."""
    path = from_folder_typed_in(path).absolute()
    if path.exists() and not path.is_dir():
        raise ValueError("is a file; must be the path of a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} must be a folder")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError("cannot be written to; must be the path of a folder")
    return path


OutputFolder = Annotated[Path, BeforeValidator(is_given), AfterValidator(output_folder)]


class SelectionSettings(BaseModel):
    """Which finished runs are looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    dataset: Annotated[str, names_of(DATASETS)] | None = Field(
        None, description="only runs on these data sets; joined by commas", examples=[", ".join(DATASETS)]
    )
    model: Annotated[str, names_of(REGISTRABLE)] | None = Field(
        None, description="only runs of these networks; joined by commas", examples=[", ".join(REGISTRABLE)]
    )
    experiment: Annotated[str, AfterValidator(quotable)] | None = Field(
        None, description="only runs of this MLflow experiment", examples=["its name"]
    )
    study: Annotated[str, AfterValidator(quotable)] | None = Field(
        None, description="only runs that belong to this study", examples=["its name"]
    )
    tag: Annotated[str, AfterValidator(quotable), AfterValidator(name_and_value)] | None = Field(
        None, description="only runs with this tag", examples=["NAME=VALUE"]
    )
    parent: RunId | None = Field(None, description="only runs below this parent run", examples=["an MLflow run id"])
    runs: Annotated[str, AfterValidator(run_ids)] | None = Field(
        None, description="only these runs; joined by commas", examples=["MLflow run ids"]
    )
    best: int | None = Field(
        None,
        ge=1,
        description="configurations to show of each (data set, model): those with the highest mean validation "
        "accuracy; not given: 1, and every one where runs are named",
    )
    all: bool = Field(False, description="show every configuration")

    @model_validator(mode="after")
    def goes_together(self) -> "SelectionSettings":
        if self.all and self.best is not None:
            raise ValueError(f"best={self.best} and all=true: give one of them")
        return self

    @property
    def best_of_each(self) -> int | None:
        """Configurations of each (data set, model) to show; None: every one."""
        return None if self.all or (self.runs and self.best is None) else self.best or 1


class CompareSettings(SelectionSettings):
    """Put finished runs side by side: a table, tests of whether differences are luck, and a report in one HTML file."""

    output: OutputFolder = Field(
        Path("comparison"),
        validate_default=True,
        description="folder for the report and the tables",
        examples=["the path of a folder"],
    )
