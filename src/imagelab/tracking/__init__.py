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

from imagelab.tracking.direct_writes import create_history_run, delete_run, set_run_tag, write_param_once
from imagelab.tracking.end import end_dead_run, end_run
from imagelab.tracking.operation_run import operation_run
from imagelab.tracking.parent_run import (
    children_of,
    create_parent,
    end_dead_parents,
    find_refit,
    join_parent,
    open_child,
    try_take_parent,
)
from imagelab.tracking.presentation import PARENT, RUN_NAME, log_description, show_side_by_side
from imagelab.tracking.project_run import (
    after_mlflow_run,
    annotate_project_run,
    end_with_mlflow_run,
    environment_with_package,
    failure_noted,
    release_project_run,
)
from imagelab.tracking.repeatable_parent import is_resumable, repeatable_parent
from imagelab.tracking.resume import (
    REPEAT,
    is_alive_here,
    is_below_another,
    this_process,
    unlocked_run_folders,
    was_here_and_died,
)
from imagelab.tracking.retry import code_of, is_missing, pages, request, request_or_none, retry, runs_of_all
from imagelab.tracking.run import Run
from imagelab.tracking.run_model import model_of
from imagelab.tracking.start import tracked_run, use_own_experiment
from imagelab.tracking.store import (
    database_path,
    project_folder,
    reason_of,
    runs_folder,
    use_tracking_store,
    without_password,
)
from imagelab.tracking.stored_settings import log_split, settings_of, split_of

if TYPE_CHECKING:
    from mlflow import MlflowClient as Client

__all__ = [
    "PARENT",
    "REPEAT",
    "RUN_NAME",
    "Client",
    "Run",
    "after_mlflow_run",
    "annotate_project_run",
    "children_of",
    "code_of",
    "create_history_run",
    "create_parent",
    "database_path",
    "delete_run",
    "end_dead_parents",
    "end_dead_run",
    "end_run",
    "end_with_mlflow_run",
    "environment_with_package",
    "failure_noted",
    "find_refit",
    "is_alive_here",
    "is_below_another",
    "is_missing",
    "is_resumable",
    "join_parent",
    "log_description",
    "log_split",
    "model_of",
    "open_child",
    "operation_run",
    "pages",
    "project_folder",
    "reason_of",
    "release_project_run",
    "repeatable_parent",
    "request",
    "request_or_none",
    "retry",
    "runs_folder",
    "runs_of_all",
    "set_run_tag",
    "settings_of",
    "show_side_by_side",
    "split_of",
    "this_process",
    "tracked_run",
    "try_take_parent",
    "unlocked_run_folders",
    "use_own_experiment",
    "use_tracking_store",
    "was_here_and_died",
    "without_password",
    "write_param_once",
]
