"""One training without a run, as `train` does it: what the benchmarks measure."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagelab.fit_from_settings import load_fitter, plan_of
from imagelab.settings import ExperimentSettings
from imagelab.training import Checkpoints, FitEvents, FitPlan, Fitter
from imagelab.training.checkpoints import Row


@dataclass(frozen=True)
class Fit:
    """A training that can be started: `run`; what it has found is in `checkpoints` afterwards."""

    fitter: Fitter
    plan: FitPlan
    checkpoints: Checkpoints

    def run(self, on_epoch: Callable[[Row], None] = lambda row: None) -> None:
        self.fitter.fit(self.plan, self.checkpoints, FitEvents(on_epoch=on_epoch))

    def test_accuracy(self) -> float:
        """That of the best epoch."""
        best = self.fitter.best_network(self.plan, self.checkpoints)
        answers = self.fitter.test_probabilities(self.plan, best, self.checkpoints.best_row["phase"])
        return float((answers.argmax(axis=1) == self.fitter.dataset.test.labels).mean())


def prepare(settings: ExperimentSettings, folder: Path) -> Fit:
    """Load the data and split it; `settings` are complete."""
    fitter = load_fitter(settings, with_test=False)
    return Fit(fitter, plan_of(settings), Checkpoints(folder, str(settings.monitor)))
