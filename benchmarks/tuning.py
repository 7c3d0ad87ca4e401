"""TPE that ends hopeless trials, beside random search that does not: the same time, the same space, several seeds.

    python -m benchmarks.tuning [--seeds 3] [--seconds 240] [--workers 2] [--figure FILE.png]

Both are the command `tune` itself, on the first 5,000 images of Fashion-MNIST, in alternation. Printed are the best
validation loss (accuracies of so few images are equal too often), when TPE had what random search had in the end, what
a trial takes besides its epochs, and trials an hour with one worker and with several. The curves are the best so far.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import optuna

SEARCH = "learning_rate=log:1e-5:1e-1, dropout_rate=0:0.8, batch_size=64|128|256|512"
TRAINING = (
    *("--dataset=fashion_mnist", "--model=basic_cnn", "--limit=5000", "--epochs=8"),
    *("--objective=val_loss", "--refit=false"),
)
WAYS = {"tpe, median pruner": ("tpe", "median"), "random, none": ("random", "none")}
Curve = list[tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--workers", type=int, default=2, help="how many, to compare their trials an hour with one's")
    parser.add_argument("--figure", type=Path, help="where to draw the best-so-far curves")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves: dict[str, list[Curve]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            for way, (sampler, pruner) in WAYS.items():
                study = tune(Path(folder), f"{sampler}-{seed}", arguments.seconds, seed, sampler, pruner, 1)
                curves[way].append(best_so_far(study))
                states = [trial.state.name for trial in study.trials]
                print(
                    f"seed {seed}  {way:18}  {len(states):>3} trials, {states.count('PRUNED'):>3} pruned, best "
                    f"{curves[way][-1][-1][1]:.4f} after {curves[way][-1][-1][0]:.0f} s; besides training "
                    f"{overhead(study):.2f} s a trial",
                    flush=True,
                )
            ours, theirs = (curves[way][-1] for way in WAYS)
            compare(ours, theirs)
        report(curves, arguments.seconds)
        one = optuna.load_study(study_name="random-0", storage=f"sqlite:///{folder}/optuna.db")
        several = tune(Path(folder), "workers", arguments.seconds, 0, "random", "none", arguments.workers)
        for workers, study in ((1, one), (arguments.workers, several)):
            print(f"{workers} workers: {trials_an_hour(study):.0f} trials an hour (random search, seed 0)", flush=True)
    if arguments.figure:
        draw(curves, arguments.seconds, arguments.figure)


def tune(
    folder: Path, name: str, seconds: float, seed: int, sampler: str, pruner: str, workers: int
) -> optuna.study.Study:
    """One session of the command; the time to load libraries and data is not counted (see `started`)."""
    storage = f"sqlite:///{folder}/optuna.db"
    command = [sys.executable, "-m", "entrypoints.tune", *TRAINING, f"--search={SEARCH}", f"--seed={seed}"]
    command += [f"--study={name}", f"--storage={storage}", f"--sampler={sampler}", f"--pruner={pruner}"]
    command += [f"--workers={workers}", "--n_trials=10000", f"--timeout={seconds}"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return optuna.load_study(study_name=name, storage=storage)


def started(study: optuna.study.Study) -> Any:
    return study.trials[0].datetime_start


def best_so_far(study: optuna.study.Study) -> Curve:
    """(seconds since the first trial began, best value) at each improvement.

    Without the recipe, which is the first trial of both and hard to beat: the samplers are compared, not the start.
    """
    complete = [trial for trial in study.get_trials(states=[optuna.trial.TrialState.COMPLETE]) if not is_recipe(trial)]
    curve: Curve = []
    for trial in sorted(complete, key=lambda trial: trial.datetime_complete or started(study)):
        if not curve or trial.values[0] < curve[-1][1]:
            assert trial.datetime_complete is not None
            curve.append(((trial.datetime_complete - started(study)).total_seconds(), trial.values[0]))
    return curve


def is_recipe(trial: optuna.trial.FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("recipe"))


def overhead(study: optuna.study.Study) -> float:
    """Median seconds between the begin of a complete trial and the begin of the next, without those of its epochs."""
    pairs = zip(study.trials, study.trials[1:], strict=False)
    return median(
        (after.datetime_start - trial.datetime_start).total_seconds() - trial.user_attrs["figures"]["training_seconds"]
        for trial, after in pairs
        if "figures" in trial.user_attrs and after.datetime_start and trial.datetime_start
    )


def trials_an_hour(study: optuna.study.Study) -> float:
    finished = [trial for trial in study.trials if trial.datetime_complete]
    last = max(trial.datetime_complete for trial in finished if trial.datetime_complete)
    return len(finished) / ((last - started(study)).total_seconds() / 3600)


def compare(ours: Curve, theirs: Curve) -> None:
    """Say when ours had what theirs had in the end."""
    end, goal = theirs[-1]
    reached = next((moment for moment, value in ours if value <= goal), None)
    when = "not at all" if reached is None else f"after {reached:.0f} s"
    print(f"        random search had {goal:.4f} after {end:.0f} s, TPE {when}", flush=True)


def value_at(curve: Curve, moment: float) -> float:
    """The best value so far; nothing is known before the first trial has ended."""
    return min((value for second, value in curve if second <= moment), default=float("nan"))


def report(curves: dict[str, list[Curve]], seconds: float) -> None:
    ours, theirs = curves.values()
    for way, several in curves.items():
        print(f"{way:18}  best, mean of {len(several)} seeds: {mean(curve[-1][1] for curve in several):.4f}")
    goal = mean(curve[-1][1] for curve in theirs)
    moments = [second / 2 for second in range(round(2 * seconds) + 60)]
    reached = next((m for m in moments if mean(value_at(curve, m) for curve in ours) <= goal), None)
    end = mean(curve[-1][0] for curve in theirs)
    if reached is None:
        print(f"mean curves: random search's final {goal:.4f} (after {end:.0f} s) was not reached by TPE")
    else:
        print(
            f"mean curves: random search's final {goal:.4f}, which it had after {end:.0f} of {seconds:g} s, "
            f"was reached by TPE after {reached:.0f} s: {reached / seconds:.2f} of the whole time"
        )


def draw(curves: dict[str, list[Curve]], seconds: float, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure((8, 4.5), layout="constrained")
    axes = figure.subplots()
    for (way, several), color in zip(curves.items(), ("tab:blue", "tab:gray"), strict=True):
        for curve in several:
            axes.step(*points(curve, seconds), where="post", color=color, alpha=0.6)
        axes.plot([], color=color, label=way)
    axes.set(xlabel="seconds since the first trial began", ylabel="best validation loss so far", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=110)


def points(curve: Curve, seconds: float) -> tuple[Sequence[float], Sequence[float]]:
    moments, values = zip(*curve, strict=True)
    return [*moments, max(seconds, moments[-1])], [*values, values[-1]]


if __name__ == "__main__":
    main()
