"""Does mixed_precision=auto cost accuracy? The recipes' trainings, in float32 and in auto, in alternation.

    python -m benchmarks.mixed_precision [--models basic_ann basic_cnn deeper_cnn] [--seeds 3] [--epochs N]

Prints the validation accuracy of the best epoch of each, their means and the difference. On a processor without
bfloat16 both are the same computation.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import mean

from benchmarks.processes import measure
from imagelab.keras_startup import start_keras
from imagelab.settings import ExperimentSettings, validate

MODELS = ("basic_ann", "basic_cnn", "deeper_cnn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=0, help="instead of the recipe's")
    arguments = parser.parse_args()
    for model in arguments.models:
        accuracies: dict[str, list[float]] = {"float32": [], "auto": []}
        for seed in range(arguments.seeds):
            for precision, found in accuracies.items():
                command = ("-m", __spec__.name, "one", model, precision, str(seed), str(arguments.epochs))
                found.append(100 * measure(*command)["val_accuracy"])
                print(f"{model} seed {seed} {precision}: {found[-1]:.2f} %", file=sys.stderr, flush=True)
        means = {precision: mean(found) for precision, found in accuracies.items()}
        print(
            f"{model}: float32 {means['float32']:.2f} %, auto {means['auto']:.2f} %, "
            f"difference {means['auto'] - means['float32']:+.2f} points ({arguments.seeds} seeds)",
            flush=True,
        )


def train_one(model_name: str, precision: str, seed: int, epochs: int) -> dict[str, float]:
    start_keras()
    from benchmarks.fits import prepare  # it imports Keras, which must have been started

    given = {"model": model_name, "seed": seed, "epochs": epochs or None, "mixed_precision": precision}
    settings = validate(ExperimentSettings, {**given, "recipe": "best"}).with_recipe()
    with tempfile.TemporaryDirectory() as folder:
        fit = prepare(settings, Path(folder))
        fit.run()
        return {"val_accuracy": fit.checkpoints.best_row["val_accuracy"]}


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        model_name, precision, *numbers = sys.argv[2:]
        print(json.dumps(train_one(model_name, precision, *map(int, numbers))))
    else:
        main()
