"""A head on cached features beside a plain script that sends every image through the backbone in every epoch.

    python -m benchmarks.transfer_speed PLAIN_KERAS.py --weights RESNET50.weights.h5 [--epochs 40] [--plain-epochs 3]

Both train the same head (Dense 512 and 256) on a frozen ResNet50 at CIFAR-100's own 32 pixels, on two parts of the
same training images, with the same batch size. Ours begins with an empty feature cache, and its feature pass counts.
The plain script takes as long in each epoch, so that by default three of them are measured and multiplied;
`--plain-epochs 40` runs them all. It feeds the backbone pixels / 255, we feed it what it was trained on, so that
the accuracies differ for a reason that has nothing to do with speed: ours must not be below.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import measure
from imagelab.keras_startup import start_keras
from imagelab.settings import ExperimentSettings, validate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain", type=Path, help="the plain Keras script")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--plain-epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=128)
    arguments = parser.parse_args()
    epochs, batch_size = arguments.epochs, str(arguments.batch_size)
    with tempfile.TemporaryDirectory() as cache:
        command = ["-m", __spec__.name, "ours", str(arguments.weights), batch_size, str(epochs)]
        ours = measure(*command, env={"IMAGELAB_FEATURE_CACHE": cache})
    print(ours, file=sys.stderr, flush=True)
    same = ["--dataset", "cifar100", "--batch_size", batch_size, "--epochs", str(arguments.plain_epochs)]
    plain = measure(str(arguments.plain), "resnet50", *same)
    seconds = median(row["seconds"] for row in plain["rows"] if "seconds" in row) * epochs
    total = ours["feature_seconds"] + ours["head_seconds"]
    print(f"plain Keras  {seconds:>7,.0f} s for {epochs} epochs ({arguments.plain_epochs} measured), ", end="")
    print(f"validation accuracy {plain['best_val_accuracy']:.2%} after {plain['epochs']}")
    print(f"imagelab     {total:>7,.0f} s for {epochs} epochs ({ours['feature_seconds']:.0f} s of features), ", end="")
    print(f"validation accuracy {ours['best_val_accuracy']:.2%}")
    print(f"ratio        {seconds / total:>7.1f}")


def train_ours(weights: str, batch_size: int, epochs: int) -> dict[str, Any]:
    """Features of the training images and a head on them, without tracking."""
    start_keras()
    from benchmarks.fits import prepare  # it imports Keras, which must have been started
    from imagelab.training import FitEvents

    given = {"dataset": "cifar100", "model": "resnet50", "image_size": 32, "head": "mlp", "pooled_stages": 1}
    given |= {"weights": weights, "batch_size": batch_size, "epochs": epochs, "early_stopping_patience": 0}
    constant = {"learning_rate": 0.001, "learning_rate_schedule": "constant"}
    settings = validate(ExperimentSettings, given | constant).with_recipe()
    with tempfile.TemporaryDirectory() as folder:
        fit = prepare(settings, Path(folder))
        started = time.perf_counter()
        fit.fitter.features(fit.plan, FitEvents())
        featured = time.perf_counter()
        fit.run()
        ended = time.perf_counter()
        accuracy = max(row["val_accuracy"] for row in fit.checkpoints.rows)
    return {"feature_seconds": featured - started, "head_seconds": ended - featured, "best_val_accuracy": accuracy}


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        weights, batch_size, epochs = sys.argv[2:]
        print(json.dumps(train_ours(weights, int(batch_size), int(epochs))))
    else:
        main()
