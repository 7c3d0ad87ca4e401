"""The run that a promotion or rollback leaves behind: small, written at once, ended as the deed ends."""

import json
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagelab.console import say
from imagelab.errors import ImagelabError, Interrupted, SettingsError, unswallowed
from imagelab.tracking.afterwards import after_mlflow_run
from imagelab.tracking.lifecycle import experiment_id, take_or_create_run
from imagelab.tracking.provenance import uncommitted_changes
from imagelab.tracking.requests import ask
from imagelab.tracking.resuming import mark_killed, this_process, was_here_and_died
from imagelab.tracking.store import project_folder

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient


class Audit:
    """A run to write to, without an outbox: what a deed has to say is little, and must be there before it is done.

    Attributes:
        wrapped: whether `mlflow run` has opened the run and will end it after this process.
        tags: what it was marked with when it was opened, MLflow's own tags among them.
    """

    def __init__(self, client: "MlflowClient", run_id: str, wrapped: bool) -> None:
        self.client, self.run_id, self.wrapped = client, run_id, wrapped
        run = ask(client.get_run, run_id)
        self.experiment_id, self.tags = run.info.experiment_id, dict(run.data.tags)
        self.known_params = set(run.data.params)

    def log_tags(self, **tags: str) -> None:
        from mlflow.entities import RunTag

        marks = [RunTag(key, value) for key, value in tags.items()]
        ask(self.client.log_batch, self.run_id, tags=marks)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log what `mlflow run` has not logged yet, in the spelling that was typed."""
        from mlflow.entities import Param

        params = [Param(key, str(value)) for key, value in values.items() if key not in self.known_params]
        ask(self.client.log_batch, self.run_id, params=params)

    def log_metrics(self, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(key, value, now, 0) for key, value in values.items()]
        ask(self.client.log_batch, self.run_id, metrics=metrics)

    def log_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.log_text(name, json.dumps(content, indent=2))

    def log_text(self, name: str, text: str) -> None:
        ask(self.client.log_text, self.run_id, text, name)

    def log_table(self, name: str, table: "pd.DataFrame") -> None:
        """A frame as CSV or, by its name's ending, Parquet."""
        with tempfile.TemporaryDirectory(prefix="imagelab-") as folder:
            path = Path(folder) / name
            table.to_parquet(path, index=False) if path.suffix == ".parquet" else table.to_csv(path, index=False)
            ask(self.client.log_artifact, self.run_id, str(path))

    def end(self, status: str, **tags: str) -> None:
        self.log_tags(**tags)
        ask(self.client.set_terminated, self.run_id, status)

    def remove(self) -> None:
        """A wrong setting leaves no run."""
        if self.wrapped:
            after_mlflow_run("delete", self.run_id)
        else:
            self.client.set_terminated(self.run_id, "FAILED")  # should somebody restore it
            self.client.delete_run(self.run_id)


@contextmanager
def audited_run(
    client: "MlflowClient", phase: str, registered_model: str, params: Mapping[str, Any]
) -> Iterator[Audit]:
    """Open a run, or take the one that `mlflow run` has opened, and end it as what is done inside ends.

    FINISHED after the last line, KILLED when interrupted, FAILED with the reason as a tag when something else raises;
    none is left after a `SettingsError`.
    """
    audit = open_audit(client, phase, registered_model)
    try:
        audit.log_params(params)
        close_stale_audits(audit)
        with unswallowed():
            yield audit
        audit.end("FINISHED")
    except Interrupted as signal:
        with suppress(Exception):
            audit.end("KILLED", interrupted_by=str(signal))
        if audit.wrapped:
            after_mlflow_run("KILLED", audit.run_id)
        say("\ninterrupted; the same command completes what was begun")
        raise
    except SettingsError:
        with suppress(Exception):
            audit.remove()
        raise
    except BaseException as error:
        end_failed(audit, error)
        raise


def open_audit(client: "MlflowClient", phase: str, registered_model: str) -> Audit:
    tags = {"phase": phase, "registered_model": registered_model, **this_process()}
    if uncommitted_changes(project_folder()):
        tags["git_dirty"] = "true"
    run_id, wrapped = ask(take_or_create_run, client, f"{phase} of {registered_model}", tags)
    return Audit(client, run_id, wrapped)


def create_history_run(client: "MlflowClient", registered_model: str) -> str:
    """A run to keep the history of a registered model in; its id. It is FINISHED, and takes parameters all the same."""
    from mlflow.tracking.context import registry

    tags = {**registry.resolve_tags(), "phase": "history", "registered_model": registered_model, **this_process()}
    name = f"history of {registered_model}"
    run = ask(client.create_run, ask(experiment_id, client), None, tags, name)
    ask(client.set_terminated, run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def end_failed(audit: Audit, error: BaseException) -> None:
    with suppress(Exception):
        if not isinstance(error, ImagelabError):
            audit.log_text("failure.txt", traceback.format_exc())
        audit.end("FAILED", failure=f"{type(error).__name__}: {error}"[:5000])


def close_stale_audits(audit: Audit) -> None:
    """Mark runs of promotions and rollbacks whose process died on this machine KILLED."""
    query = "tags.registered_model IS NOT NULL and attributes.status = 'RUNNING'"
    runs = ask(audit.client.search_runs, [audit.experiment_id], query)
    for run in runs:
        if was_here_and_died(run.data.tags):
            ask(mark_killed, audit.client, run.info.run_id)
