"""Runs as a training leaves them, made without training: settings, metrics, curves and answers to 360 test images."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imagelab.data import load_dataset
from imagelab.data.dataset import Dataset
from imagelab.settings import TrainSettings

DIGITS: Dataset = load_dataset("digits")


def make_run(client: Any, folder: Path, accuracy: float, settings: dict[str, Any] | None = None, **changed: Any) -> str:
    """A finished run on the digits whose network gets a random share of `accuracy` of the test images right; its id.

    Args:
        changed: `status`, `val_accuracy`, `tags` and `metrics` (None takes one away), `answers` (False: it has none).
    """
    given = TrainSettings(**{"dataset": "digits", "model": "basic_ann", **(settings or {})}).with_recipe()
    tags = {"role": "final", "dataset": "digits", "model": given.model, "dataset_digest": DIGITS.digest}
    tags |= {"settings": given.as_tag(), **changed.get("tags", {})}
    known = {name: value for name, value in tags.items() if value is not None}
    run_id = str(client.create_run("0", tags=known).info.run_id)
    answers = answers_of(accuracy, given.seed)
    metrics = {"best_val_accuracy": changed.get("val_accuracy", accuracy), "test_accuracy": answers["correct"].mean()}
    metrics |= {"parameter_count": 1000, "training_seconds": 10, "best_epoch": 2, **changed.get("metrics", {})}
    for name, value in metrics.items():
        if value is not None:
            client.log_metric(run_id, name, value)
    for epoch in (1, 2):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            client.log_metric(run_id, name, accuracy * epoch / 2, step=epoch)
    if changed.get("answers", True):
        path = folder / "predictions.parquet"
        answers.to_parquet(path, index=False)
        client.log_artifact(run_id, str(path), "evaluation")
    client.set_terminated(run_id, changed.get("status", "FINISHED"))
    return run_id


def answers_of(accuracy: float, seed: int) -> pd.DataFrame:
    labels = DIGITS.test.labels
    right = np.random.default_rng(seed).random(len(labels)) < accuracy
    predicted = np.where(right, labels, (labels + 1) % 10)
    names = np.array(DIGITS.class_names)
    columns = {"label": labels, "class": names[labels], "predicted": predicted, "predicted_class": names[predicted]}
    return pd.DataFrame({**columns, "probability": 0.5, "correct": right})
