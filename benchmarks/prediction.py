"""`-e predict` with both engines beside a plain loop: images a second, and the most memory of all processes together.

    python -m benchmarks.prediction [--model basic_cnn] [--images 100000] [--train epochs=3 ...] [--folder]

The images are CIFAR-100's, as PNG files in one Parquet file (`--folder`: in a folder), again and again. A model is
trained first, with the settings after `--train`, and registered. The plain loop is what one writes without thinking:
every image by PIL into one array, then `network.predict` in batches of 32. Seconds are those of the whole command,
from nothing to the finished file; memory is the sum over all its processes (proportional set size), twice a second.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

PAUSE = 0.5  # seconds between two looks at the memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="basic_cnn")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--train", nargs="*", default=["epochs=3"], help="settings of the training")
    parser.add_argument("--folder", action="store_true", help="images as files, not in a Parquet file")
    parser.add_argument("--predict", nargs="*", default=[], help="more settings of predict")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as name:
        folder = Path(name)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        model_id = train_and_register(arguments.model, arguments.train)
        images = write_images(folder, arguments.images, arguments.folder)
        same = ["--dataset=cifar100", f"--model={arguments.model}", f"--images={images}"]
        same += [f"--{setting}" for setting in arguments.predict]
        rows = {"plain loop": measure_tree("-m", __spec__.name, "plain", model_id, str(images), f"{folder}/plain.txt")}
        for engine in ("local", "spark"):
            output = folder / f"{engine}.parquet"
            command = ["-m", "entrypoints.predict", *same, f"--engine={engine}", f"--output={output}"]
            rows[f"engine={engine}"] = measure_tree(*command)
        report(rows, arguments.images)
        compare(folder)


def train_and_register(model: str, settings: Sequence[str]) -> str:
    """The id of a model that is the champion of its registered model now."""
    import mlflow

    flags = [f"--{setting}" for setting in settings]
    command = [sys.executable, "-m", "entrypoints.train", "--dataset=cifar100", f"--model={model}", *flags]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = mlflow.MlflowClient()
    (logged,) = client.search_logged_models(["0"])
    name = f"cifar100-{model}"
    client.create_registered_model(name)
    client.create_model_version(name, logged.model_uri, logged.source_run_id, model_id=logged.model_id)
    client.set_registered_model_alias(name, "champion", "1")
    return str(logged.model_id)


def write_images(folder: Path, count: int, as_files: bool) -> Path:
    """CIFAR-100's images as PNG files, repeated until they are enough."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    from imagelab.keras_startup import start_keras

    start_keras()
    from imagelab.data import load_dataset

    dataset = load_dataset("cifar100")
    pixels = [*dataset.train.images, *dataset.test.images][:count]
    files = []
    for each in pixels:
        content = io.BytesIO()
        Image.fromarray(each).save(content, "PNG")
        files.append(content.getvalue())
    repeated = [files[number % len(files)] for number in range(count)]
    if not as_files:
        pq.write_table(pa.table({"id": range(count), "image": repeated}), folder / "images.parquet")
        return folder / "images.parquet"
    for number, file in enumerate(repeated):
        path = folder / "images" / f"{number // 1000:04}" / f"{number:07}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return folder / "images"


def measure_tree(*command: str) -> dict[str, float]:
    """Run Python with these arguments; seconds, and the most megabytes of all its processes together.

    Raises:
        SystemExit: it failed.
    """
    peak = 0.0
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said: list[tuple[str, str]] = []
    listener = threading.Thread(target=lambda: said.append(process.communicate()))
    listener.start()
    while listener.is_alive():
        peak = max(peak, megabytes_of(process.pid))
        listener.join(PAUSE)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said[0][1][-2000:]}")
    if match := re.search(r"in ([\d.,]+) s \(", said[0][0]):  # without the start of Python and the search for a model
        return {"seconds": seconds, "peak": peak, "engine_seconds": float(match[1].replace(",", ""))}
    return {"seconds": seconds, "peak": peak, "engine_seconds": json.loads(said[0][0])["seconds"]}


def megabytes_of(pid: int) -> float:
    """The memory of a process and all below it; what several share is counted once."""
    total = 0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in tree:
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except OSError:
            continue
        if match := re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE):
            total += int(match[1])
    return total / 1024


def report(rows: dict[str, dict[str, float]], count: int) -> None:
    plain = rows["plain loop"]["seconds"]
    print(f"{count:,} images        seconds   images/s   of it computing   peak MB   times as fast")
    for name, row in rows.items():
        print(
            f"{name:20} {row['seconds']:9.1f} {count / row['seconds']:10,.0f} {count / row['engine_seconds']:13,.0f}/s "
            f"{row['peak']:11,.0f} {plain / row['seconds']:12.2f}"
        )


def compare(folder: Path) -> None:
    """All three must give the same labels, but for what rounding decides."""
    import pyarrow.parquet as pq

    local, spark = (pq.read_table(folder / f"{engine}.parquet")["label"].to_pylist() for engine in ("local", "spark"))
    plain = (folder / "plain.txt").read_text().splitlines()
    for name, labels in (("spark", spark), ("plain", plain)):
        print(f"labels that differ, local and {name}: {sum(a != b for a, b in zip(local, labels, strict=True)):,}")


def predict_plainly(model_id: str, images: Path, output: Path) -> dict[str, Any]:
    """Every image into one array, all of them through `network.predict`."""
    from imagelab.keras_startup import start_keras

    start_keras()
    import mlflow
    import numpy as np
    import pandas as pd
    from PIL import Image

    network = mlflow.keras.load_model(f"models:/{model_id}")
    metadata = mlflow.models.get_model_info(f"models:/{model_id}").metadata
    assert metadata is not None
    names = metadata["class_names"]
    started = time.perf_counter()
    if images.is_dir():
        pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(images.rglob("*.png"))]
    else:
        files = pd.read_parquet(images)["image"]
        pictures = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    probabilities = network.predict(np.array(pictures, np.float32), batch_size=32, verbose=0)
    output.write_text("\n".join(names[best] for best in probabilities.argmax(axis=1)))
    return {"seconds": time.perf_counter() - started}


if __name__ == "__main__":
    if sys.argv[1:2] == ["plain"]:
        model_id, images, output = sys.argv[2:]
        print(json.dumps(predict_plainly(model_id, Path(images), Path(output))))
    else:
        main()
