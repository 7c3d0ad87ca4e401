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
    import keras

    from imagelab.data import load_dataset
    from imagelab.data.dataset import split_validation
    from imagelab.models import build_model
    from imagelab.settings import TrainSettings
    from imagelab.training import Checkpoints, choose_dtype_policy, train, under_policy

    settings = TrainSettings(model=model_name, seed=seed, epochs=epochs or None).with_recipe()
    dataset = load_dataset(settings.dataset)
    fitted, validated = split_validation(dataset.train, **settings.arguments_of(split_validation))
    keras.utils.set_random_seed(seed)
    with under_policy(choose_dtype_policy(precision)):
        model = build_model(model_name, dataset.image_shape, dataset.num_classes)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        train(model, fitted, validated, checkpoints, **settings.arguments_of(train))
    return {"val_accuracy": checkpoints.best_row["val_accuracy"]}


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        model_name, precision, *numbers = sys.argv[2:]
        print(json.dumps(train_one(model_name, precision, *map(int, numbers))))
    else:
        main()
