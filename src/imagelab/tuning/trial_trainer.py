"""The training of one trial; data, and the features of frozen backbones, are shared by all trials of a process."""

import gc
from collections.abc import Callable
from pathlib import Path

import keras

from imagelab.fit_from_settings import load_fitter, plan_of
from imagelab.settings import ExperimentSettings
from imagelab.training import Checkpoints, FitEvents, RowsOnly
from imagelab.training.checkpoints import Row


class TrialTrainer:
    """Trains networks that differ in what is searched, one after the other."""

    def __init__(self, base: ExperimentSettings) -> None:
        """Load the data.

        Raises:
            DataError: it cannot be had.
        """
        self.fitter = load_fitter(base, with_test=False)
        gc.freeze()  # all that is imported by now: Keras collects garbage before each trial, and would search that, too

    def train(self, settings: ExperimentSettings, folder: Path, on_epoch: Callable[[Row], None]) -> dict[str, float]:
        """Train, and return every figure that may be an objective, of the best epoch.

        Raises:
            DivergedError: the loss became NaN or infinite.
            SettingsError, WeightsError, DataError: nothing can be trained so.
        """
        keras.backend.clear_session()
        monitor = str(settings.monitor)
        checkpoints = Checkpoints(folder, monitor) if settings.fine_tune_epochs else RowsOnly(monitor)
        parameter_count = self.fitter.fit(plan_of(settings), checkpoints, FitEvents(on_epoch=on_epoch))
        best = checkpoints.best_row
        return {
            **{name: value for name, value in best.items() if name.startswith("val_")},
            "best_epoch": best["epoch"],
            "parameter_count": parameter_count,
            "training_seconds": sum(row["epoch_seconds"] for row in checkpoints.rows),
        }
