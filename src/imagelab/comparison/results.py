"""What is downloaded of the runs that are shown: the answers to each test image, and the curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from imagelab.comparison.training import Configuration, Training
from imagelab.errors import TrackingError, one_line
from imagelab.progress import CURVES, Display
from imagelab.tracking import request

if TYPE_CHECKING:
    from imagelab.tracking import Client

PREDICTIONS = "evaluation/predictions.parquet"  # artifact
AT_ONCE = 8  # runs whose results are downloaded at the same time: a server far away takes its time for each request


@dataclass(frozen=True)
class Results:
    """What was downloaded, by run id; a run whose artifact is not there is missing.

    Attributes:
        predictions: a row a test image, as `Evaluation.predictions` makes it.
        curves: a column each of CURVES, a row an epoch, which is the index.
        missing: why a run's predictions are not there, a sentence a run.
    """

    predictions: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    curves: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    missing: Sequence[str] = ()

    @cached_property
    def epochs(self) -> dict[str, int]:
        """How many epochs each run was trained for."""
        return {run_id: len(curve) for run_id, curve in self.curves.items()}

    def of(self, configuration: Configuration) -> list[Training]:
        """Its trainings whose predictions are there, in the order of their seeds."""
        return [training for training in configuration.trainings if training.run_id in self.predictions]

    def answers_of(self, configuration: Configuration) -> tuple[int, pd.DataFrame] | None:
        """Its lowest seed whose predictions are there, and these; None without predictions."""
        training = next(iter(self.of(configuration)), None)
        return (training.seed, self.predictions[training.run_id]) if training else None

    def accuracy_by_class(self, configuration: Configuration) -> "pd.Series[float] | None":
        """The share of each class's test images that it got right, mean over seeds; None without predictions."""
        found = [self.predictions[training.run_id] for training in self.of(configuration)]
        return pd.concat(found).groupby("class", sort=False)["correct"].mean() if found else None


def fetch_results(client: "Client", configurations: Sequence[Configuration]) -> Results:
    """Download predictions and curves of every training of these configurations.

    Raises:
        TrackingError: the store does not answer.
    """
    trainings = [training for configuration in configurations for training in configuration.trainings]
    predictions, curves, missing = {}, {}, []
    labels: dict[str, np.ndarray] = {}
    with TemporaryDirectory() as folder, Display() as display, ThreadPool(AT_ONCE) as pool:
        fetched = pool.imap(partial(fetch, client, Path(folder)), [training.run_id for training in trainings])
        for number, (training, (curve, found)) in enumerate(zip(trainings, fetched, strict=True), 1):
            display.show("reading results", number, len(trainings), "runs", "so far")
            curves[training.run_id] = curve
            if isinstance(found, str):
                missing.append(not_used(training, found))
            elif not agree(found, training.metrics["test_accuracy"]):
                missing.append(not_used(training, "its answers are not as often right as test_accuracy says"))
            elif np.array_equal(labels.setdefault(training.digest, found["label"].to_numpy()), found["label"]):
                predictions[training.run_id] = found
            else:
                missing.append(not_used(training, "it was tested on other images"))
    return Results(predictions, {run_id: curve for run_id, curve in curves.items() if len(curve)}, missing)


def not_used(training: Training, reason: str) -> str:
    return f"run {training.run_id}: {PREDICTIONS} is not used ({reason})"


def fetch(client: "Client", folder: Path, run_id: str) -> tuple[pd.DataFrame, pd.DataFrame | str]:
    """A run's curves, and its answers to each test image, or why these cannot be had."""
    curves = curves_of(client, run_id)
    try:
        return curves, predictions_of(client, run_id, folder / run_id)
    except (KeyError, ValueError, OSError) as error:
        return curves, one_line(error)


def predictions_of(client: "Client", run_id: str, folder: Path) -> pd.DataFrame:
    """The run's answers to each test image.

    Raises:
        OSError, ValueError, KeyError: it has none, or a file that cannot be read.
    """
    parent = PREDICTIONS.split("/", maxsplit=1)[0]
    try:
        if PREDICTIONS not in [file.path for file in request(client.list_artifacts, run_id, parent)]:
            raise FileNotFoundError("the run has none")
        folder.mkdir()
        path = request(client.download_artifacts, run_id, PREDICTIONS, str(folder))
    except TrackingError as error:
        raise OSError(str(error)) from error
    columns = ["label", "class", "predicted", "predicted_class", "probability", "correct"]
    found = pd.read_parquet(path, columns=columns)
    Path(path).unlink(missing_ok=True)
    if broken := what_is_broken(found):
        raise ValueError(broken)
    return found


def what_is_broken(predictions: pd.DataFrame) -> str:
    """Why this is no table of answers; empty where it is one."""
    if predictions.empty or predictions.isna().any(axis=None):
        return "it has no rows, or empty places"
    whole = [pd.api.types.is_integer_dtype(predictions[name]) for name in ("label", "predicted")]
    if not all(whole) or not pd.api.types.is_bool_dtype(predictions["correct"]):
        return "its columns have other types"
    if not np.array_equal(predictions["correct"], predictions["label"] == predictions["predicted"]):
        return "what it calls correct is not where label and prediction are the same"
    return ""


def agree(predictions: pd.DataFrame, accuracy: float) -> bool:
    """Whether a run's answers are as often right as it has logged."""
    return math.isclose(predictions["correct"].mean(), accuracy, abs_tol=1e-6)


def curves_of(client: "Client", run_id: str) -> pd.DataFrame:
    """A row an epoch; empty where the run has logged no curve."""
    columns = {}
    for name in CURVES:
        points = request(client.get_metric_history, run_id, name)
        columns[name] = pd.Series({point.step: point.value for point in points}, dtype=float)
    return pd.DataFrame(columns).sort_index()
