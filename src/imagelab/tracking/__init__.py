"""The only room that writes to a run.

What is left to MLflow's own automatic logging, and what is not:

- MLflow's: source, user and git commit (its context providers), samples of processor, memory, disk, network and GPU
  (its system-metrics monitors), the model's environment, signature checks and per-model metrics (`Model.log`).
- Ours: parameters, curves, models, data sets. `mlflow.keras.autolog` is off, because it loses the second fit of a
  run, stops silently when a parameter was logged in another spelling, attaches the first epoch's metrics to the last
  epoch's model, hashes only the first values of a data set, and drops what a server that is away does not take.

Everything goes through an outbox on disk (`outbox.py`), which a thread delivers (`delivery.py`), so that training
never waits for the store and a store that goes away loses nothing.
"""

from imagelab.tracking.afterwards import end_with_mlflow_run, leave_wrapper
from imagelab.tracking.lifecycle import tracked_run
from imagelab.tracking.resuming import unattended_runs
from imagelab.tracking.run import RESUME, Run
from imagelab.tracking.store import project_folder, runs_folder, use_tracking_store, without_password

__all__ = [
    "RESUME",
    "Run",
    "end_with_mlflow_run",
    "leave_wrapper",
    "project_folder",
    "runs_folder",
    "tracked_run",
    "unattended_runs",
    "use_tracking_store",
    "without_password",
]
