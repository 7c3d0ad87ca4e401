"""How long `compare` takes with many runs in the store, and how much memory.

    python -m benchmarks.comparing [--runs 1000 10000] [--same]

Each number of runs gets a SQLite store of its own. The runs are written straight into its tables, with as many
parameters, tags and metrics as a real training logs, without artifacts: pairs of configurations are therefore left out.
With --same, all configurations are compared (`all=true`); without, the best one of each model.
"""

import argparse
import json
import random
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.processes import measure
from imagelab.settings import TrainSettings

MODELS = ("basic_ann", "basic_cnn", "deeper_cnn", "resnet50")
SEEDS = 5
ONCE = ("training_seconds", "test_loss", "test_macro_f1", "test_calibration_error", "test_top_5_accuracy", "best_epoch")
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "epoch_seconds", "images_per_second")
SYSTEM = tuple(f"system/figure_{number}" for number in range(8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--same", action="store_true", help="compare every configuration")
    arguments = parser.parse_args()
    options = ["--all=true"] if arguments.same else []
    for count in arguments.runs:
        with tempfile.TemporaryDirectory() as folder:
            store = make_store(Path(folder), count)
            command = ["-m", "entrypoints.compare", f"--output={folder}/comparison", *options]
            spent = measure(*command, env={"MLFLOW_TRACKING_URI": store})
        print(
            f"{count:,} runs: {spent['wall_seconds']:.1f} s, {spent['processor_seconds']:.1f} processor seconds, "
            f"{spent['peak_megabytes']:,.0f} MB",
            flush=True,
        )


def make_store(folder: Path, count: int) -> str:
    """A store with so many finished trainings on CIFAR-100; its URI."""
    path = folder / "mlflow.db"
    measure("-c", f"import mlflow; mlflow.MlflowClient('sqlite:///{path}').search_experiments(); print('{{}}')")
    with sqlite3.connect(path) as database:
        for number in range(count):
            write_run(database, number)
    return f"sqlite:///{path}"


def write_run(database: sqlite3.Connection, number: int) -> None:
    run_id, began = f"{number:032x}", 1_700_000_000_000 + 1000 * number
    settings = settings_of(number)
    database.execute(
        "insert into runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, "
        "end_time, source_version, lifecycle_stage, artifact_uri, experiment_id) "
        "values (?, ?, 'UNKNOWN', '', '', 'somebody', 'FINISHED', ?, ?, '', 'active', ?, 0)",
        (run_id, f"run-{number}", began, began + 900, f"/nowhere/{run_id}"),
    )
    values = settings.model_dump(mode="json").items()
    write(database, "params (key, value, run_uuid)", [(key, str(value), run_id) for key, value in values])
    write(database, "tags (key, value, run_uuid)", [(*tag, run_id) for tag in tags_of(settings)])
    metrics = [(key, value, began, run_id, 1, 0) for key, value in metrics_of(number)]
    for table in ("metrics", "latest_metrics"):
        write(database, f"{table} (key, value, timestamp, run_uuid, step, is_nan)", metrics)


def write(database: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    marks = ", ".join("?" * len(rows[0]))
    database.executemany(f"insert into {table} values ({marks})", rows)


def settings_of(number: int) -> TrainSettings:
    """A model, a seed and a learning rate, so that SEEDS runs each differ by the seed alone."""
    configuration, seed = divmod(number, SEEDS)
    rate = 0.0001 * (1 + configuration // len(MODELS))
    model = MODELS[configuration % len(MODELS)]
    return TrainSettings(dataset="cifar100", model=model, seed=seed, learning_rate=rate).with_recipe()


def tags_of(settings: TrainSettings) -> Iterator[tuple[str, str]]:
    yield from {"role": "final", "dataset": settings.dataset, "model": settings.model}.items()
    yield from {"settings": settings.as_tag(), "dataset_digest": "d" * 64, "phase": "train"}.items()
    yield "mlflow.runName", "a run"
    yield "mlflow.log-model.history", json.dumps([{"flavors": {"keras": {}}, "padding": "x" * 2000}])
    yield from ((f"mlflow.source.{number}", "x" * 40) for number in range(8))


def metrics_of(number: int) -> Iterator[tuple[str, float]]:
    draw = random.Random(number)
    accuracy = 0.3 + 0.1 * (number // SEEDS % len(MODELS)) + 0.01 * draw.random()
    yield from {"best_val_accuracy": accuracy, "test_accuracy": accuracy - 0.01 * draw.random()}.items()
    yield "parameter_count", 1000.0 * (1 + number // SEEDS % len(MODELS))
    yield from ((name, draw.random()) for name in (*ONCE, *CURVES, *SYSTEM))


if __name__ == "__main__":
    main()
