"""Several trainings below one parent run: finished ones are taken over, begun ones gone on with, the others done."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import pandas as pd

from imagelab.console import say
from imagelab.errors import ImagelabError
from imagelab.experiment import role_on, run_experiment
from imagelab.progress import in_words
from imagelab.reporting import is_final_metric
from imagelab.settings import ExperimentSettings, TrainSettings, name_of
from imagelab.tracking import PARENT, RUN_NAME, Run, children_of, is_resumable, request
from imagelab.training import Fitter

SHOWN = {"test_accuracy": "test accuracy", "best_val_accuracy": "validation accuracy"}
TRUST = 0.1  # how much a forecast of the whole weighs against what was measured since, as a share of it


@dataclass(frozen=True)
class PlannedTraining:
    """A training to be done below a parent.

    Attributes:
        label: what tells it from the others, in words.
        tags: the same as tags of its run.
        name: of its run.
        expected: seconds that it will take; where nobody knows them, 1 for each of equal ones.
    """

    settings: TrainSettings
    label: str
    tags: Mapping[str, str]
    name: str
    expected: float = 1.0


@dataclass(frozen=True)
class FinishedTraining:
    """What a finished training has left.

    Attributes:
        tags: what tells it from the others.
        ended: milliseconds since 1970.
        metrics: its final figures.
    """

    tags: Mapping[str, str]
    run_id: str
    ended: int
    metrics: dict[str, float]


@dataclass
class TrainingSeries:
    """The trainings below one parent run, done in their order.

    Attributes:
        fitter_of: the data set of a training, with what trains on it; shared by those of one data set and split.
        is_forecast: whether what the trainings are expected to take are seconds.
        shown: the figures that are said of each, and their names.
        seconds: that trainings of this process took from beginning to end, and what they were expected to take.
    """

    parent: Run
    planned: Sequence[PlannedTraining]
    fitter_of: Callable[[PlannedTraining], Fitter]
    is_forecast: bool = False
    shown: Mapping[str, str] = field(default_factory=lambda: SHOWN)
    seconds: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = self.parent.client
        self.children = request(children_of, self.client, self.parent.run_id)  # the newest first
        self.left = [each for each in self.planned if self.finished_run(each) is None]

    def run(self) -> list[FinishedTraining]:
        """Do what is not done yet; what each training has left, in their order.

        Raises:
            ImagelabError: with the reason; the run of that training is then FAILED.
            Interrupted: on Ctrl-C or SIGTERM; it is then KILLED.
        """
        return [self.figures(each) for each in self.planned]

    def figures(self, planned: PlannedTraining) -> FinishedTraining:
        if finished := self.finished_run(planned):
            say(f"{self.title(planned)} is trained already: {self.scores_of(finished.data.metrics)}")
        run_id = finished.info.run_id if finished else self.train(planned)
        run = request(self.client.get_run, run_id)
        metrics = {key: value for key, value in run.data.metrics.items() if is_final_metric(key)}
        return FinishedTraining(planned.tags, run_id, run.info.end_time, metrics)

    def runs_of(self, planned: PlannedTraining) -> list[Any]:
        """The runs that an earlier command has begun for a training, the newest first."""
        return [run for run in self.children if planned.tags.items() <= run.data.tags.items()]

    def finished_run(self, planned: PlannedTraining) -> Any | None:
        return next((run for run in self.runs_of(planned) if run.info.status == "FINISHED"), None)

    def train(self, planned: PlannedTraining) -> str:
        """Train from the beginning, or where an earlier command has left one of its runs; its id."""
        begun = (run.info.run_id for run in self.runs_of(planned) if is_resumable(self.client, run))
        resume = next(begun, None)
        say(f"{self.title(planned)} {'goes on' if resume else 'begins'}{self.time_left()}")
        started = time.monotonic()
        keras.backend.clear_session()
        try:
            fitter = self.fitter_of(planned)
            tags = {PARENT: self.parent.run_id, RUN_NAME: planned.name, "role": role_on(fitter.split), **planned.tags}
            with without_retracing_warnings():
                result = run_experiment(planned.settings.resuming(resume), tags, fitter)
        except ImagelabError as error:
            raise type(error)(f"{planned.label}: {error}") from error
        taken = time.monotonic() - started
        self.left.remove(planned)
        if not resume:  # else it is not known how much of it was done before
            self.seconds.append((taken, planned.expected))
        say(f"{self.title(planned)} is done: {self.scores_of(vars(result))}, {in_words(taken)}{self.time_left()}")
        return result.run_id

    def title(self, planned: PlannedTraining) -> str:
        return f"{planned.label}, {self.planned.index(planned) + 1} of {len(self.planned)},"

    def time_left(self) -> str:
        """How long the trainings that are left will take, as far as that is known."""
        pace, expected = self.pace, sum(each.expected for each in self.left)
        return f"; {in_words(pace * expected)} left" if pace and expected else ""

    @property
    def pace(self) -> float:
        """Seconds taken for each that was expected; 0.0 where nothing is known. The first ones may be short ones."""
        trust = TRUST * sum(each.expected for each in self.planned) if self.is_forecast else 0.0
        taken, expected = (sum(column) + trust for column in zip(*self.seconds, (0.0, 0.0), strict=True))
        return taken / expected if expected else 0.0

    def scores_of(self, metrics: Any) -> str:
        return ", ".join(f"{text} {metrics[key]:.2%}" for key, text in self.shown.items())


@contextmanager
def without_retracing_warnings() -> Iterator[None]:
    """TensorFlow takes the next network for the last one, traced again: it warns after a few."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def log_spread(
    parent: Run, trainings: Sequence[FinishedTraining], tag: str, table_name: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Log each value of every final figure, mean and standard deviation; return these two.

    Args:
        tag: of each training, a number that tells it from the others: the step of its values.
        table_name: of a CSV with a row a training.
    """
    table = pd.DataFrame([each.metrics for each in trainings]).dropna(axis="columns")
    names = table.columns.astype(str).to_list()
    for each in trainings:
        values = {name: each.metrics[name] for name in names}
        parent.log_metrics(values, step=int(each.tags[tag]), timestamp=each.ended)
    mean, std = dict(table.mean()), dict(table.std(ddof=1))
    together = {f"{name}_mean": mean[name] for name in mean} | {f"{name}_std": std[name] for name in std}
    parent.log_metrics(together, timestamp=last_end(trainings))
    table.insert(0, "run_id", [each.run_id for each in trainings])
    table.insert(0, tag, [int(each.tags[tag]) for each in trainings])
    parent.log_table(table_name, table)
    return mean, std


def last_end(trainings: Sequence[FinishedTraining]) -> int:
    """When the last one ended: what is logged of all of them with this time is the same point if it is said again."""
    return max(each.ended for each in trainings)


def spread_in_words(mean: Mapping[str, float], std: Mapping[str, float], shown: Mapping[str, str]) -> str:
    return ", ".join(f"{text} {mean[key]:.2%} +- {std[key]:.2%}" for key, text in shown.items())


def start_of_names(parent: Run, settings: ExperimentSettings, invented: str) -> str:
    """What the names of the runs below a parent begin with: the user's name for that, if it is not `invented`."""
    return name_of(settings) if parent.tags[RUN_NAME] == invented else parent.tags[RUN_NAME]
