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
from typing import Any

from imagelab import reporting
from imagelab.quiet import start_keras
from imagelab.settings import TrainSettings
from imagelab.tracking import Run, tracked_run

spent: dict[str, list[float]] = {}


@contextmanager
def timed(name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    spent.setdefault(name, []).append(time.perf_counter() - started)


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
        from imagelab.data import load_dataset

        dataset = load_dataset(settings.dataset)
        fit_once(settings, dataset, None)  # warms up
        ratios = []
        for pair in range(arguments.pairs):
            first, second = (False, True) if pair % 2 else (True, False)
            seconds = {tracked: run_once(settings, dataset, tracked) for tracked in (first, second)}
            ratios.append(seconds[True] / seconds[False])
            print(f"pair {pair}: untracked {seconds[False]:.2f} s, tracked {seconds[True]:.2f} s", file=sys.stderr)
    print(f"{arguments.model}: tracked / untracked fit: median ratio {median(ratios):.3f} of {arguments.pairs} pairs")
    for name, seconds_spent in spent.items():
        print(f"  {name:40} {median(seconds_spent):6.2f} s")


def run_once(settings: TrainSettings, dataset: Any, tracked: bool) -> float:
    """Seconds of the fit."""
    if not tracked:
        return fit_once(settings, dataset, None)[0]
    context = tracked_run(settings.model_dump(mode="json"), None, {}, {})
    with timed("start: open the run"):
        run = context.__enter__()
    seconds, finish = fit_once(settings, dataset, run)
    finish()
    with timed("end: wait for delivery, model included"):
        context.__exit__(None, None, None)
    return seconds


def fit_once(settings: TrainSettings, dataset: Any, run: Run | None) -> tuple[float, Callable[[], None]]:
    import keras

    from imagelab.data.dataset import split_validation
    from imagelab.evaluation import Evaluation
    from imagelab.models import build_model
    from imagelab.training import Checkpoints, choose_dtype_policy, predict, train, under_policy

    fitted, validated = split_validation(dataset.train, **settings.arguments_of(split_validation))
    keras.utils.set_random_seed(settings.seed)
    policy = choose_dtype_policy(settings.mixed_precision)
    with under_policy(policy):
        model = build_model(settings.model, dataset.image_shape, dataset.num_classes)
    if run:
        with timed("start: digest, data tables and samples"):
            dataset.__dict__.pop("digest", None)
            reporting.report_data(run, dataset, fitted, validated)
        with timed("start: summary"):
            reporting.report_network(run, model, policy)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(run.checkpoint_folder if run else Path(folder))
        on_epoch = run.log_epoch if run else lambda row: None
        started = time.perf_counter()
        train(model, fitted, validated, checkpoints, on_epoch=on_epoch, **settings.arguments_of(train))
        seconds = time.perf_counter() - started

    def finish() -> None:
        assert run is not None
        with timed("end: curves and checkpoints"):
            reporting.report_training(run, model, checkpoints.rows, checkpoints.best_row)
        with timed("end: test predictions"):
            model.load_weights(checkpoints.best_path)
            probabilities = predict(model, dataset.test)
        with timed("end: scores, tables, figures"):
            evaluation = Evaluation(dataset.test.labels, probabilities, dataset.class_names)
            reporting.report_evaluation(run, evaluation, dataset, model, checkpoints.best_row)

    return seconds, finish


if __name__ == "__main__":
    main()
