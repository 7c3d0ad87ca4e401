"""The best network as a LoggedModel: what serves it, signature, input example, requirements and its own metrics."""

import importlib.metadata
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import numpy as np
from mlflow.entities import Metric
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array, Object, Property

from imagelab.keras_startup import start_keras
from imagelab.tracking.outbox import Entry
from imagelab.tracking.run_model import logged_by, newest_complete

if TYPE_CHECKING:
    from mlflow import MlflowClient

for chatty in ("mlflow.utils.uv_utils", "mlflow.utils.environment", "mlflow.pyfunc"):
    logging.getLogger(chatty).setLevel(logging.ERROR)

REQUIREMENTS = ("keras", "mlflow", "numpy", "pandas", "pillow", "tensorflow")


def log_model_once(client: "MlflowClient", run_id: str, folder: Path, entry: Entry, python_model: Path) -> None:
    """Log the network saved at entry["path"], unless an earlier attempt did, and the metrics of its final scores.

    Args:
        python_model: the code that answers for it, stored with the model.
    """
    model_id = find_logged_model(client, run_id) or log_model(run_id, folder, entry, python_model)
    metrics = [
        Metric(key, value, entry["timestamp"], entry["step"], model_id, entry["dataset"], entry["digest"])
        for key, value in entry["values"].items()
    ]
    client.log_batch(run_id, metrics=metrics)


def find_logged_model(client: "MlflowClient", run_id: str) -> str | None:
    """The run's complete model, if there is one; incomplete ones, of attempts that failed, are deleted."""
    experiment = client.get_run(run_id).info.experiment_id
    models = client.search_logged_models([experiment], logged_by(run_id))
    for model in models:
        if model.status != "READY":
            client.delete_logged_model(model.model_id)
    return newest_complete(models)


def log_model(run_id: str, folder: Path, entry: Entry, python_model: Path) -> str:
    start_keras()
    example = np.load(folder / entry["example"], allow_pickle=False)
    info = Model.log(
        artifact_path=None,
        name="model",
        flavor=SimpleNamespace(save_model=save_model),
        flavor_name="imagelab",
        run_id=run_id,
        network=folder / entry["path"],
        python_model=python_model,
        signature=signature_of(entry),
        input_example=example,
        pip_requirements=requirements(),
        step=entry["step"],  # MLflow copies the metrics of that epoch to the model
        # not as `model_config`, which MLflow would log as parameters of the run, too
        served_config={name: entry[name] for name in ("class_names", "superclass_of")},
        metadata={"class_names": entry["class_names"]},
    )
    return str(info.model_id)


def save_model(
    path: str, network: Path, python_model: Path, served_config: dict[str, Any], mlflow_model: Any, **content: Any
) -> None:
    """One folder, two ways in: `mlflow.pyfunc` (what is served) and `mlflow.keras` (the network itself).

    Args:
        served_config: what the served model finds as its `model_config`.
    """
    import keras  # late: after start_keras()

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
        path,
        python_model=str(python_model),
        artifacts=artifacts,
        model_config=served_config,
        mlflow_model=mlflow_model,
        **content,
    )


def signature_of(entry: Entry) -> Any:
    """The answer and the params; no schema of inputs, since none of MLflow's allows arrays and base64 text alike."""
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
