"""What tracking costs: the same fit with and without it, in alternation in one process.

    python -m benchmarks.tracking_overhead [--model basic_cnn] [--pairs 8] [--epochs 2]

Prints the median ratio of the fits' times, tracked over untracked (checkpoints belong to training and are in both),
and, apart, the seconds that a tracked run spends before and after its fit, and on what.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from imagelab.evaluation.scores import Evaluation
from imagelab.keras_startup import start_keras
from imagelab.settings import TrainSettings
from imagelab.tracking import Run, tracked_run

seconds_of: dict[str, list[float]] = {}


@contextmanager
def timed(name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds_of.setdefault(name, []).append(time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="basic_cnn")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    settings = TrainSettings(model=arguments.model, epochs=arguments.epochs).with_recipe()
    start_keras()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        fit_once(settings, None)  # warms up
        ratios = []
        for pair in range(arguments.pairs):
            first, second = (False, True) if pair % 2 else (True, False)
            seconds = {tracked: run_once(settings, tracked) for tracked in (first, second)}
            ratios.append(seconds[True] / seconds[False])
            print(f"pair {pair}: untracked {seconds[False]:.2f} s, tracked {seconds[True]:.2f} s", file=sys.stderr)
    print(f"{arguments.model}: tracked / untracked fit: median ratio {median(ratios):.3f} of {arguments.pairs} pairs")
    for name, times in seconds_of.items():
        print(f"  {name:40} {median(times):6.2f} s")


def run_once(settings: TrainSettings, tracked: bool) -> float:
    """Seconds of the fit."""
    if not tracked:
        return fit_once(settings, None)[0]
    context = tracked_run(settings.model_dump(mode="json"), None, {}, {})
    with timed("start: open the run"):
        run = context.__enter__()
    seconds, finish = fit_once(settings, run)
    finish()
    with timed("end: wait for delivery, model included"):
        context.__exit__(None, None, None)
    return seconds


def fit_once(settings: TrainSettings, run: Run | None) -> tuple[float, Callable[[], None]]:
    from benchmarks.fits import prepare
    from imagelab import reporting

    folder = run.checkpoint_folder if run else Path(tempfile.mkdtemp(dir=Path.cwd()))
    fit = prepare(settings, folder)
    if run:
        with timed("start: digest, data tables and samples"):
            reporting.report_data(run, fit.fitter.dataset, fit.fitter.split, fit.fitter.splits)
        with timed("start: summary"):
            reporting.report_network(run, fit.fitter.build(fit.plan, fit.plan.dtype_policy))
    started = time.perf_counter()
    fit.run(*([run.log_epoch] if run else []))
    seconds = time.perf_counter() - started

    def finish() -> None:
        assert run is not None
        rows, best_row, dataset = fit.checkpoints.rows, fit.checkpoints.best_row, fit.fitter.dataset
        with timed("end: best network"):
            best = fit.fitter.best_network(fit.plan, fit.checkpoints)
        with timed("end: curves and checkpoints"):
            reporting.report_training(run, best, rows, best_row)
        with timed("end: test predictions"):
            probabilities = fit.fitter.test_probabilities(fit.plan, best, best_row["phase"])
        with timed("end: scores, tables, figures"):
            evaluation = Evaluation(dataset.test.labels, probabilities, dataset.class_names)
            reporting.report_evaluation(run, evaluation, dataset, best, best_row)

    return seconds, finish


if __name__ == "__main__":
    main()
