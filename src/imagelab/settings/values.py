"""Values that settings of several commands share: each checks itself, and its error says what is allowed."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from imagelab.data import AUGMENTATIONS, DATASETS
from imagelab.mlflow_command import from_folder_typed_in
from imagelab.models import ENSEMBLE, MODELS, REGISTRABLE
from imagelab.settings.command_line import did_you_mean

UPLOAD_PATIENCE = 300  # seconds
LEAST_SIZE = 4  # pixels: networks that halve an image twice keep something of it


def one_of(table: Sequence[str]) -> AfterValidator:
    """A validator for the names of a table; its error lists them and names the nearest."""

    def check(name: str) -> str:
        if name in table:
            return name
        raise ValueError(f"must be one of {', '.join(table)}{did_you_mean(name, table)}")

    return AfterValidator(check)


def is_trained(name: str) -> str:
    if name == ENSEMBLE:
        raise ValueError("is not trained: it is made of finished runs, by mlflow run . -e ensemble")
    return name


def run_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise ValueError("must be an MLflow run id, 32 hexadecimal digits")
    return text


def readable_folder(path: Path) -> Path:
    if path == Path() or not (found := from_folder_typed_in(path)).is_dir():
        raise ValueError("must be an existing folder")
    return found


def known_weights(text: str) -> str:
    if text in ("imagenet", "none"):
        return text
    if not text.endswith((".weights.h5", ".keras", ".h5")):
        raise ValueError("must be imagenet, none, or the path of a .weights.h5 or .keras file")
    if not (found := from_folder_typed_in(Path(text))).is_file():
        raise ValueError(f"there is no such file (looked for: {found.absolute()})")
    return text if found in (Path(text), Path(text).expanduser()) else str(found)


def augmentation_tokens(text: str) -> str:
    """The tokens in the order in which they are applied, so that one augmentation has one name."""
    tokens = text.replace("flip_shift", "flip+shift").split("+")
    if text == "none":
        return text
    for token in tokens:
        if token not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            raise ValueError(f"must be none, or some of {known} joined by +{did_you_mean(token, AUGMENTATIONS)}")
    if len(set(tokens)) < len(tokens):
        raise ValueError("names a change twice")
    return "+".join(token for token in AUGMENTATIONS if token in tokens)


def rising_sizes(text: str) -> str:
    words = text.split(":")
    if text == "none":
        return text
    if len(words) < 2 or not all(re.fullmatch(r"[1-9]\d{0,3}", word) for word in words):
        raise ValueError("must be none, or two or more sizes in pixels joined by colons, such as 16:24:32")
    if int(words[0]) < LEAST_SIZE or any(int(one) >= int(other) for one, other in pairwise(words)):
        raise ValueError(f"sizes must rise, from at least {LEAST_SIZE} pixels")
    return text


def absolute_path(path: Path) -> Path:
    return from_folder_typed_in(path).absolute()


RunId = Annotated[str, AfterValidator(run_id)]
DataSetName = Annotated[str, one_of(DATASETS), Field(examples=list(DATASETS))]
ModelName = Annotated[str, AfterValidator(is_trained), one_of(MODELS), Field(examples=list(MODELS))]
RegisteredModelName = Annotated[str, one_of(REGISTRABLE), Field(examples=list(REGISTRABLE))]
SettingsFile = Annotated[Path, AfterValidator(absolute_path)]
Folder = Annotated[Path, AfterValidator(readable_folder)]
WeightsName = Annotated[str, AfterValidator(known_weights)]

# Settings that mean the same to every command that has them.
DataFolder = Annotated[
    Folder | None, Field(description="folder to look for the data set's files in, before Keras's cache")
]
Note = Annotated[str, Field(max_length=5000, description="free text, shown as the run's description")]
UploadPatience = Annotated[
    float, Field(ge=0, description="seconds to wait at the end for a tracking server that has gone away")
]
