"""A project with a registered model, and pictures to classify."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from imagelab.data import load_dataset
from imagelab.prediction import predict as predict_command
from imagelab.settings import PredictSettings, parse
from tests.conftest import Project, finish, make_project

MODEL = ("--dataset=digits", "--model=basic_ann")
NAME = "digits-basic_ann"


def make_registered_project(folder: Path, database: Path) -> Project:
    """Train for two epochs, and register the model twice: version 1 is `previous`, version 2 `champion`."""
    project = make_project(folder, database)
    code, _, errors = finish(project.train("epochs=2"))
    assert code == 0, errors
    (run,) = project.runs()
    (model,) = project.client.search_logged_models(["0"])
    mlflow.set_tracking_uri(project.uri)  # create_model_version looks for the model there, whatever its client is
    project.client.create_registered_model(NAME)
    for _ in range(2):
        project.client.create_model_version(NAME, model.model_uri, run.info.run_id, model_id=model.model_id)
    project.client.set_registered_model_alias(NAME, "champion", "2")
    project.client.set_registered_model_alias(NAME, "previous", "1")
    mlflow.set_tracking_uri(None)
    return project


def predict(images: Path, output: Path, *settings: str) -> str:
    """The command, in this process."""
    flags = [f"--images={images}", f"--output={output}", *(f"--{setting}" for setting in settings)]
    return predict_command.predict(parse(PredictSettings, "predict", [*MODEL, *flags]))


def start(project: Project, images: Path, output: Path, *settings: str, **environment: str) -> Any:
    """The command, in a process of its own."""
    flags = [f"--images={images}", f"--output={output}", *(f"--{setting}" for setting in settings)]
    return project.start(sys.executable, "-m", "entrypoints.predict", *MODEL, *flags, **environment)


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def digits(count: int) -> list[bytes]:
    """Digits as PNG files; after 1,000 they come again."""
    pixels = load_dataset("digits").train.images[:1000, :, :, 0]
    files = [png(each) for each in pixels[:count]]
    return [files[number % len(files)] for number in range(count)]


def write_parquet(path: Path, images: Sequence[Any], **columns: Any) -> Path:
    pq.write_table(pa.table({"image": images, **columns}), path)
    return path


def rows_of(output: Path) -> list[dict[str, Any]]:
    return pq.read_table(output).to_pylist()
