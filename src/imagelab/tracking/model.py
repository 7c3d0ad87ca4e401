"""The best network as a LoggedModel: signature, input example, pip requirements and its own metrics."""

import importlib.metadata
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.entities import Metric

from imagelab.quiet import start_keras
from imagelab.tracking.outbox import Entry

if TYPE_CHECKING:
    from mlflow import MlflowClient

for chatty in ("mlflow.utils.uv_utils", "mlflow.utils.environment"):
    logging.getLogger(chatty).setLevel(logging.ERROR)

REQUIREMENTS = ("keras", "mlflow", "numpy", "tensorflow")


def log_model_once(client: "MlflowClient", run_id: str, folder: Path, entry: Entry) -> None:
    """Log the network saved at entry["path"], unless an earlier attempt did, and the metrics of its final scores."""
    model_id = already_logged(client, run_id) or log_model(run_id, folder, entry)
    metrics = [
        Metric(key, value, entry["timestamp"], entry["step"], model_id, entry["dataset"], entry["digest"])
        for key, value in entry["values"].items()
    ]
    client.log_batch(run_id, metrics=metrics)


def already_logged(client: "MlflowClient", run_id: str) -> str | None:
    """The run's complete model, if there is one; what a failed attempt has left behind is deleted."""
    experiment = client.get_run(run_id).info.experiment_id
    complete = None
    for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        if model.status == "READY":
            complete = str(model.model_id)
        else:
            client.delete_logged_model(model.model_id)
    return complete


def log_model(run_id: str, folder: Path, entry: Entry) -> str:
    start_keras()
    import keras
    from mlflow.models import Model, infer_signature

    keras.utils.disable_interactive_logging()  # holds for this thread only
    network = keras.saving.load_model(folder / entry["path"], compile=False)
    example = np.load(folder / entry["example"], allow_pickle=False)
    info = Model.log(
        artifact_path=None,
        name="model",
        flavor=SimpleNamespace(save_model=save_model),
        flavor_name="mlflow.keras",
        run_id=run_id,
        model=network,
        signature=infer_signature(example, network.predict(example, verbose=0)),
        input_example=example,
        pip_requirements=requirements(),
        step=entry["step"],  # MLflow copies the metrics of that epoch to the model
        metadata={"class_names": entry["class_names"]},
    )
    return str(info.model_id)


def save_model(path: str, **content: Any) -> None:
    """`mlflow.keras.save_model`, which writes the input example before it makes the folder for it."""
    import mlflow.keras

    Path(path).mkdir()
    mlflow.keras.save_model(path=path, **content)


def requirements() -> list[str]:
    """What serving the network needs, pinned to what trained it."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS]
