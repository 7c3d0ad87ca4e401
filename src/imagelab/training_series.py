"""Several trainings below one parent run: finished ones are taken over, begun ones gone on with, the others done."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from imagelab.console import say
from imagelab.errors import ImagelabError
from imagelab.experiment import run_experiment
from imagelab.progress import in_words
from imagelab.reporting import is_final_metric
from imagelab.settings import TrainSettings
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
        ended: milliseconds since 1970.
        metrics: its final figures.
    """

    seed: int
    run_id: str
    ended: int
    metrics: dict[str, float]


@dataclass
class TrainingSeries:
    """The trainings below one parent run, done in their order.

    Attributes:
        fitter_of: the data set of a training, with what trains on it; shared by those of one data set.
        is_forecast: whether what the trainings are expected to take are seconds.
        seconds: that trainings of this process took from beginning to end, and what they were expected to take.
    """

    parent: Run
    planned: Sequence[PlannedTraining]
    fitter_of: Callable[[TrainSettings], Fitter]
    is_forecast: bool = False
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
            say(f"{self.title(planned)} is trained already: {scores_of(finished.data.metrics)}")
        run_id = finished.info.run_id if finished else self.train(planned)
        run = request(self.client.get_run, run_id)
        metrics = {key: value for key, value in run.data.metrics.items() if is_final_metric(key)}
        return FinishedTraining(planned.settings.seed, run_id, run.info.end_time, metrics)

    def runs_of(self, planned: PlannedTraining) -> list[Any]:
        """The runs that an earlier command has begun for a training, the newest first."""
        return [run for run in self.children if planned.tags.items() <= run.data.tags.items()]

    def finished_run(self, planned: PlannedTraining) -> Any | None:
        return next((run for run in self.runs_of(planned) if run.info.status == "FINISHED"), None)

    def train(self, planned: PlannedTraining) -> str:
        """Train from the beginning, or where an earlier command has left one of its runs; its id."""
        begun = (run.info.run_id for run in self.runs_of(planned) if is_resumable(self.client, run))
        resume = next(begun, None)
        tags = {"role": "final", PARENT: self.parent.run_id, RUN_NAME: planned.name, **planned.tags}
        say(f"{self.title(planned)} {'goes on' if resume else 'begins'}{self.time_left()}")
        started = time.monotonic()
        keras.backend.clear_session()
        try:
            fitter = self.fitter_of(planned.settings)
            result = run_experiment(planned.settings.resuming(resume), tags, fitter)
        except ImagelabError as error:
            raise type(error)(f"{planned.label}: {error}") from error
        taken = time.monotonic() - started
        self.left.remove(planned)
        if not resume:  # else it is not known how much of it was done before
            self.seconds.append((taken, planned.expected))
        say(f"{self.title(planned)} is done: {scores_of(vars(result))}, {in_words(taken)}{self.time_left()}")
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


def scores_of(metrics: Any) -> str:
    return ", ".join(f"{text} {metrics[key]:.2%}" for key, text in SHOWN.items())
