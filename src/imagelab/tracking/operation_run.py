"""The run of what is no training (promotion, evaluation, explanation, ...), ended as what is done in it ends."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from imagelab.errors import Interrupted, SettingsError, TrackingError, unswallowed
from imagelab.signals import uninterrupted
from imagelab.tracking.end import (
    end_dead_run,
    end_other_failed,
    end_other_finished,
    end_other_interrupted,
    end_run,
)
from imagelab.tracking.project_run import after_mlflow_run
from imagelab.tracking.provenance import uncommitted_changes
from imagelab.tracking.resume import CUT_OFF, lock_run, this_process, was_here_and_died
from imagelab.tracking.retry import PATIENCE, request
from imagelab.tracking.run import Run
from imagelab.tracking.start import take_or_create_run
from imagelab.tracking.store import project_folder, runs_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

GO_ON = {  # by phase: what the same command does after an interruption
    "promotion": "completes what was begun",
    "rollback": "completes what was begun",
    "evaluation": "begins anew",
    "comparison": "begins anew",
    "explanation": "begins anew",
    "ensemble": "begins anew",
    "learning_rate_search": "begins anew",
}


LONGEST_TAG = 8000  # characters: what databases take


@contextmanager
def operation_run(
    client: "MlflowClient",
    role: str,
    subject: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str] = MappingProxyType({}),
    python_model: Path | None = None,
) -> Iterator[Run]:
    """Open a run, or take the one that `mlflow run` has opened, and end it as what is done inside ends.

    FINISHED after the last line, KILLED when interrupted, FAILED with the reason as a tag when something else raises;
    none is left after a `SettingsError`.

    Args:
        role: a key of GO_ON; also the run's `phase`.
        subject: what it is about: a registered model, or networks and data sets in words.
        params: the settings of the command, as plain values; also typed, as the tag `settings`.
        tags: what the run is marked with besides; a `role` or `settings` among them replaces those.
        python_model: the code that its model is logged with; None: it logs no model.
    """
    about = {"role": role, "phase": role}
    about |= {"registered_model": subject} if role in ("promotion", "rollback") else {}
    if len(settings := json.dumps(params)) <= LONGEST_TAG:  # longer with hundreds of run ids only
        about["settings"] = settings
    title = f"{role.replace('_', ' ')} of {subject}"
    with uninterrupted() as opened:  # else a run could be left that nobody ends
        run = open_operation(client, title, {**about, **tags}, python_model)
        run.settings |= params
        try:
            opened()
            run.log_params(params)
            end_dead_operations(run)
            with unswallowed():
                yield run
        except Interrupted as signal:
            end_other_interrupted(run, signal, f"the same command {GO_ON[role]}")
            raise
        except SettingsError:
            with suppress(Exception):
                remove(run)
            raise
        except BaseException as error:
            end_other_failed(run, error)
            raise
        else:
            end_other_finished(run, f"the same command {GO_ON[role]}")


def open_operation(client: "MlflowClient", name: str, about: Mapping[str, str], python_model: Path | None) -> Run:
    tags = {**about, **this_process()}
    if uncommitted_changes(project_folder()):
        tags["git_dirty"] = "true"
    run_id, owned_by_mlflow_run = request(take_or_create_run, client, name, tags)
    folder = runs_folder() / run_id
    folder.mkdir(parents=True, exist_ok=True)
    run: Run = request(Run, client, run_id, lock_run(folder), {"upload_patience": PATIENCE}, python_model)
    run.owned_by_mlflow_run = owned_by_mlflow_run
    return run


def end_dead_operations(run: Run) -> None:
    """End runs of operations whose process died on this machine, with what they had left to say."""
    for found in request(run.client.search_runs, [run.experiment_id], "attributes.status = 'RUNNING'"):
        tags = found.data.tags
        is_operation = tags.get("phase") in GO_ON or "registered_model" in tags
        if is_operation and was_here_and_died(tags):
            request(end_dead_run, run.client, found.info.run_id, "KILLED", interrupted_by=CUT_OFF)


def remove(run: Run) -> None:
    """A wrong setting leaves no run."""
    if run.owned_by_mlflow_run:
        after_mlflow_run("delete", run.run_id)
    with suppress(TrackingError):
        end_run(run, "FAILED")  # should somebody restore it
    if not run.owned_by_mlflow_run:
        run.client.delete_run(run.run_id)
