"""What each technique alone gains: the same training without it, and with it, over several seeds.

    python -m benchmarks.ablation fashion_mnist basic_cnn [--limit 10000] [--epochs 10] [--seeds 3] [--output FOLDER]

Each training has the settings of recipe=standard, so many epochs without early stopping, and one technique. A gain is
the mean over seeds of the difference to the training of the same seed without any, with its 95 % interval (paired t).
The epoch is chosen by validation images; test images are only read to report. What is done is kept in FOLDER, so that
the same command goes on where it was interrupted.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import pandas as pd
from scipy import stats

from imagelab.comparison.table import markdown
from imagelab.keras_startup import start_keras
from imagelab.settings import ExperimentSettings, validate

NONE = "none of them"
TECHNIQUES: dict[str, dict[str, Any]] = {
    "augmentation=flip": {"augmentation": "flip"},
    "augmentation=shift": {"augmentation": "shift"},
    "augmentation=erasing": {"augmentation": "erasing"},
    "augmentation=randaugment": {"augmentation": "randaugment"},
    "mixup=0.2": {"mixup": 0.2},
    "cutmix=1": {"cutmix": 1.0},
    "label_smoothing=0.1": {"label_smoothing": 0.1},
    "l2=0.0001": {"l2": 1e-4},
    "optimizer=adamw, weight_decay=0.05": {"optimizer": "adamw", "weight_decay": 0.05},
    "learning_rate_schedule=one_cycle": {"learning_rate_schedule": "one_cycle"},
    "ema=0.99": {"ema": 0.99},
    "average_epochs=3": {"average_epochs": 3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("model")
    parser.add_argument("--limit", type=int, default=10_000, help="training images, a tenth of them to validate")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("ablation"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    start_keras()
    usual = {name: getattr(arguments, name) for name in ("dataset", "model", "limit", "epochs")}
    path = arguments.output / f"{arguments.dataset}_{arguments.model}_{arguments.limit}_{arguments.epochs}.csv"
    rows: list[dict[Any, Any]] = pd.read_csv(path).to_dict("records") if path.exists() else []
    known = {(row["technique"], row["seed"]) for row in rows}
    for seed in range(arguments.seeds):
        for technique, settings in {NONE: {}, **TECHNIQUES}.items():
            if (technique, seed) not in known:
                rows.append({"technique": technique, "seed": seed, **trained(usual | settings | {"seed": seed})})
                pd.DataFrame(rows).to_csv(path, index=False)
                print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(gains(pd.DataFrame(rows))))


def trained(given: dict[str, Any]) -> dict[str, float]:
    """Accuracies of one training, in percent, and its processor seconds."""
    from benchmarks.fits import prepare  # it imports Keras, which must have been started

    keras.utils.clear_session()
    settings = validate(ExperimentSettings, {**given, "early_stopping_patience": 0}).with_recipe()
    with tempfile.TemporaryDirectory() as folder:
        fit, started = prepare(settings, Path(folder)), time.process_time()
        fit.run()
        return {
            "processor_seconds": time.process_time() - started,
            "validation": 100 * fit.checkpoints.best_row["val_accuracy"],
            "test": 100 * fit.test_accuracy(),
        }


def gains(frame: pd.DataFrame) -> list[dict[str, str]]:
    """A row a technique, the one that gains most on validation images first."""
    by_seed = frame.pivot(index="seed", columns="technique")
    rows = []
    for technique in frame["technique"].unique():
        row = {"technique": technique, "test accuracy": f"{by_seed['test'][technique].mean():.2f} %"}
        for split in ("validation", "test"):
            difference = by_seed[split][technique] - by_seed[split][NONE]
            row[f"gain, {split}"] = "" if technique == NONE else with_interval(difference)
        work = by_seed["processor_seconds"]
        row["processor time"] = f"{(work[technique] / work[NONE]).median():.2f}"
        rows.append((by_seed["validation"][technique].mean(), row))
    return [row for _, row in sorted(rows, key=lambda each: -each[0])]


def with_interval(differences: pd.Series) -> str:
    """The mean, and how far its 95 % interval reaches to either side."""
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    return f"{differences.mean():+.2f} ± {half:.2f}"


if __name__ == "__main__":
    main()
