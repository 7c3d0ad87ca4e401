"""One training without a run, as `train` does it: what the benchmarks measure."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagelab.data import load_dataset
from imagelab.data.split import SplitSpec
from imagelab.settings import ExperimentSettings
from imagelab.training import Checkpoints, FitEvents, FitPlan, Fitter, choose_dtype_policy
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
    dataset = load_dataset(settings.dataset)
    fitter = Fitter(dataset, SplitSpec(**settings.arguments_of(SplitSpec)), settings.feature_cache_limit)
    policy = choose_dtype_policy(settings.mixed_precision)
    plan = FitPlan(dtype_policy=policy, **settings.arguments_of(FitPlan))
    return Fit(fitter, plan, Checkpoints(folder, str(settings.monitor)))
