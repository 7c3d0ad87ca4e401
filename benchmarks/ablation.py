"""What each technique alone gains: the same training without it, and with it, over several seeds.

    python -m benchmarks.ablation fashion_mnist basic_cnn [--limit 10000] [--epochs 10] [--seeds 3] [--output FOLDER]

Each training has batch size and learning rate of recipe=standard, Adam under a cosine, so many epochs without early
stopping, and one technique. A gain is the mean over seeds of the difference to the training of the same seed without
any, with its 95 % interval (paired t). The epoch is chosen by validation images; test images are only read to report.
What is done is kept in FOLDER, so that the same command goes on where it was interrupted.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from imagelab.comparison.table import markdown
from imagelab.keras_startup import start_keras
from imagelab.recipes import OFF
from imagelab.settings import ExperimentSettings, validate

NONE = "none of them"
USUAL: dict[str, Any] = {
    **{name: value for name, value in OFF.items() if value is not None},
    "augmentation": "none",
    "label_smoothing": 0.0,
    "learning_rate_schedule": "cosine",
    "monitor": "val_accuracy",
    "early_stopping_patience": 0,
}
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
    if arguments.seeds < 2:
        parser.error("an interval needs at least 2 seeds")
    usual = USUAL | {name: getattr(arguments, name) for name in ("dataset", "model", "limit", "epochs")}
    cells = {
        (technique, seed): validate(ExperimentSettings, usual | changed | {"seed": seed}).with_recipe()
        for seed in range(arguments.seeds)
        for technique, changed in {NONE: {}, **TECHNIQUES}.items()
    }
    start_keras()
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / f"{arguments.dataset}_{arguments.model}.csv"
    rows: list[dict[Any, Any]] = pd.read_csv(path).to_dict("records") if path.exists() else []
    tags = {cell: settings.as_tag() for cell, settings in cells.items()}
    rows = [row for row in rows if row["settings"] == tags.get((row["technique"], row["seed"]))]
    done = {(row["technique"], row["seed"]) for row in rows}
    for (technique, seed), settings in cells.items():
        if (technique, seed) not in done:
            row = {"technique": technique, "seed": seed, **trained(settings)}
            rows.append({**row, "settings": tags[technique, seed]})
            pd.DataFrame(rows).to_csv(path, index=False)
            print(row, file=sys.stderr, flush=True)
    print(markdown(gains(pd.DataFrame(rows))))


def trained(settings: ExperimentSettings) -> dict[str, float]:
    """Accuracies of one training, in percent, and its processor seconds."""
    import keras  # which must have been started

    from benchmarks.fits import prepare

    keras.utils.clear_session()
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
