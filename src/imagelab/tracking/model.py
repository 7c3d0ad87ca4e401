"""The best network as a LoggedModel: what serves it, signature, input example, requirements and its own metrics."""

import importlib.metadata
import logging
import os
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.entities import Metric

from imagelab.quiet import start_keras
from imagelab.tracking.outbox import Entry

if TYPE_CHECKING:
    from mlflow import MlflowClient

for chatty in ("mlflow.utils.uv_utils", "mlflow.utils.environment", "mlflow.pyfunc"):
    logging.getLogger(chatty).setLevel(logging.ERROR)

REQUIREMENTS = ("keras", "mlflow", "numpy", "pandas", "pillow", "tensorflow")
SERVED_MODEL = resources.files("imagelab") / "serving" / "served_model.py"


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
    from mlflow.models import Model

    example = np.load(folder / entry["example"], allow_pickle=False)
    info = Model.log(
        artifact_path=None,
        name="model",
        flavor=SimpleNamespace(save_model=save_model),
        flavor_name="imagelab",
        run_id=run_id,
        network=folder / entry["path"],
        signature=signature_of(entry),
        input_example=example,
        pip_requirements=requirements(),
        step=entry["step"],  # MLflow copies the metrics of that epoch to the model
        model_config={name: entry[name] for name in ("class_names", "superclass_of")},
        metadata={"class_names": entry["class_names"]},
    )
    return str(info.model_id)


def save_model(path: str, network: Path, mlflow_model: Any, **content: Any) -> None:
    """One folder, two ways in: `mlflow.pyfunc` (what is served) and `mlflow.keras` (the network itself)."""
    import keras
    import mlflow.pyfunc

    os.environ["MLFLOW_LOG_UV_FILES"] = "false"  # the model does not need our project, whose lock would be installed
    mlflow_model.add_flavor(
        "keras",
        data="artifacts",  # where mlflow.keras looks for model.keras
        keras_version=keras.__version__,
        keras_backend=keras.backend.backend(),
        save_exported_model=False,
    )
    artifacts = {"network": str(network)}
    mlflow.pyfunc.save_model(
        path, python_model=str(SERVED_MODEL), artifacts=artifacts, mlflow_model=mlflow_model, **content
    )


def signature_of(entry: Entry) -> Any:
    """The answer and the params; no schema of inputs, since none of MLflow's allows arrays and base64 text alike."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, Object, Property

    named = Object([Property("label", DataType.string), Property("probability", DataType.double)])
    columns = [ColSpec(DataType.string, "label"), ColSpec(DataType.double, "probability")]
    columns += [ColSpec(DataType.string, "superclass")] if entry["superclass_of"] else []
    outputs = Schema([*columns, ColSpec(Array(named), "top")])
    top_k = ParamSpec("top_k", DataType.long, min(5, len(entry["class_names"])))
    on_error = ParamSpec("on_error", DataType.string, "refuse")
    return ModelSignature(outputs=outputs, params=ParamSchema([top_k, on_error]))


def requirements() -> list[str]:
    """What serving the network needs, pinned to what trained it."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS]
