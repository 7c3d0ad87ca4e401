"""Our training beside a plain Keras script and beside PyTorch: images a second, ratios, and the same accuracy.

    python -m benchmarks.training_speed PLAIN_KERAS.py [--models basic_ann basic_cnn deeper_cnn] [--seeds 3]

Each network is trained by the plain script, by us (as `mixed_precision=auto` and as float32) and, where torch is
installed (`pip install torch==2.13.0`), by PyTorch in bfloat16 and channels_last, in alternation, each in a process
of its own: the same layers, Adam, learning rate, batch size and number of epochs, on Fashion-MNIST. Images a second
count the whole fit: validation after each epoch, and our checkpoints, included.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from benchmarks.processes import measure
from imagelab.keras_startup import start_keras
from imagelab.settings import ExperimentSettings

EPOCHS = {"basic_ann": 15, "basic_cnn": 6, "deeper_cnn": 3}
PLAIN = "import keras, runpy, sys; seed = int(sys.argv.pop(1)); first = keras.utils.set_random_seed; \
keras.utils.set_random_seed = lambda _: first(seed); sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain", type=Path, help="the plain Keras script")
    parser.add_argument("--models", nargs="+", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch_size", default="128")
    arguments = parser.parse_args()
    for model in arguments.models:
        compare(model, arguments)


def compare(model: str, arguments: argparse.Namespace) -> None:
    rows: dict[str, list[dict[str, Any]]] = {}
    epochs = str(EPOCHS[model])
    same = ["--batch_size", arguments.batch_size, "--epochs", epochs]
    for seed in map(str, range(arguments.seeds)):
        commands = {"plain Keras": ["-c", PLAIN, seed, str(arguments.plain), model, *same]}
        for precision in ("auto", "float32"):
            commands[f"imagelab {precision}"] = ["-m", __spec__.name, "ours", model, precision, seed, *same[1::2]]
        if importlib.util.find_spec("torch"):
            commands["PyTorch bf16"] = ["-m", "benchmarks.torch_speed", model, seed, *same[1::2]]
        for name, command in commands.items():
            row = measure(*command)
            rows.setdefault(name, []).append(row)
            print(f"{model} seed {seed} {name}: {row['images_per_second']:,.0f} images/s", file=sys.stderr, flush=True)
    print(f"\n{model}, {epochs} epochs, batch size {arguments.batch_size}, {arguments.seeds} seeds")
    baseline = [row["images_per_second"] for row in rows["plain Keras"]]
    for name, measured in rows.items():
        speeds = [row["images_per_second"] for row in measured]
        ratio = median(ours / plain for ours, plain in zip(speeds, baseline, strict=True))
        accuracies = [row["test_accuracy"] * 100 for row in measured]
        spread = stdev(accuracies) if len(accuracies) > 1 else 0.0
        print(
            f"  {name:18} {median(speeds):>9,.0f} images/s   x {ratio:.2f}   test accuracy {mean(accuracies):.2f} % "
            f"(sd {spread:.2f})   peak {max(row['peak_megabytes'] for row in measured):,.0f} MB",
            flush=True,
        )


def train_ours(model_name: str, precision: str, seed: int, batch_size: int, epochs: int) -> dict[str, Any]:
    """One training as experiment.py does it, without tracking, with the plain script's settings."""
    start_keras()
    from benchmarks.fits import prepare  # it imports Keras, which must have been started

    settings = ExperimentSettings(
        model=model_name,
        mixed_precision=precision,
        seed=seed,
        split_seed=seed,
        batch_size=batch_size,
        epochs=epochs,
        learning_rate=0.0005 if model_name == "deeper_cnn" else 0.001,
        learning_rate_schedule="constant",
    ).with_recipe()
    with tempfile.TemporaryDirectory() as folder:
        fit = prepare(settings, Path(folder))
        started = time.perf_counter()
        fit.run()
        seconds = time.perf_counter() - started
        images = len(fit.fitter.splits[0]) * len(fit.checkpoints.rows)
        return {"images_per_second": images / seconds, "test_accuracy": fit.test_accuracy()}


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        model_name, precision, *numbers = sys.argv[2:]
        print(json.dumps(train_ours(model_name, precision, *map(int, numbers))))
    else:
        main()
