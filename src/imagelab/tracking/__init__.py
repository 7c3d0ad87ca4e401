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

from typing import TYPE_CHECKING

from imagelab.tracking.afterwards import (
    after_mlflow_run,
    end_with_mlflow_run,
    environment_with_package,
    leave_wrapper,
    note_in_wrapper,
)
from imagelab.tracking.audit import Audit, audited_run, create_history_run
from imagelab.tracking.lifecycle import tracked_run
from imagelab.tracking.nested import (
    attend,
    create_parent,
    end_left_behind,
    end_nested,
    end_orphans,
    find_refit,
    join_parent,
    open_child,
    open_children,
)
from imagelab.tracking.requests import ask, code_of, insist, is_missing, pages, runs_of_all
from imagelab.tracking.resuming import is_alive_here, this_process, unattended_runs, was_here_and_died
from imagelab.tracking.run import RESUME, Run
from imagelab.tracking.store import (
    database_path,
    project_folder,
    reason_of,
    runs_folder,
    use_tracking_store,
    without_password,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient as Client

__all__ = [
    "RESUME",
    "Audit",
    "Client",
    "Run",
    "after_mlflow_run",
    "ask",
    "attend",
    "audited_run",
    "code_of",
    "create_history_run",
    "create_parent",
    "database_path",
    "end_left_behind",
    "end_nested",
    "end_orphans",
    "end_with_mlflow_run",
    "environment_with_package",
    "find_refit",
    "insist",
    "is_alive_here",
    "is_missing",
    "join_parent",
    "leave_wrapper",
    "note_in_wrapper",
    "open_child",
    "open_children",
    "pages",
    "project_folder",
    "reason_of",
    "runs_folder",
    "runs_of_all",
    "this_process",
    "tracked_run",
    "unattended_runs",
    "use_tracking_store",
    "was_here_and_died",
    "without_password",
]
