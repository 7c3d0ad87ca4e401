"""The most memory held: the whole main job beside the plain Keras script on the same data and network.

python -m benchmarks.peak_memory PLAIN_KERAS.py [--datasets fashion_mnist cifar100] [--model basic_cnn]
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.processes import measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain", type=Path, help="the plain Keras script")
    parser.add_argument("--datasets", nargs="+", default=["fashion_mnist", "cifar100"])
    parser.add_argument("--model", default="basic_cnn")
    arguments = parser.parse_args()
    same = ["--batch_size", "128", "--epochs", "2"]
    for dataset in arguments.datasets:
        plain = measure(str(arguments.plain.resolve()), arguments.model, "--dataset", dataset, *same)["peak_megabytes"]
        with tempfile.TemporaryDirectory() as folder:
            store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
            command = ["-m", "entrypoints.train", "--dataset", dataset, "--model", arguments.model, *same]
            ours = measure(*command, env=store)["peak_megabytes"]
        print(
            f"{dataset} {arguments.model}: plain {plain:,.0f} MB, ours {ours:,.0f} MB, ratio {ours / plain:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
