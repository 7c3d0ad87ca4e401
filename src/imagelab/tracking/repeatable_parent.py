"""The parent run of a command that makes several runs, and goes on with them when it is typed again.

What tells such a parent from others is its tags: the kind of command (`phase`), the settings, the data's digest.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from imagelab.console import say
from imagelab.errors import Interrupted, SettingsError, unswallowed
from imagelab.settings import with_younger
from imagelab.signals import uninterrupted
from imagelab.tracking.end import end_dead_run, end_other_failed, end_other_finished, end_other_interrupted
from imagelab.tracking.parent_run import create_parent, end_dead_parents, is_free, try_take_parent
from imagelab.tracking.project_run import keep_project_run
from imagelab.tracking.resume import CUT_OFF, mark_killed, this_process, was_here_and_died
from imagelab.tracking.retry import pages, request
from imagelab.tracking.run import Run
from imagelab.tracking.start import experiment_id, log_settings
from imagelab.tracking.store import runs_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

GO_ON = "the same command goes on with it"


@contextmanager
def repeatable_parent(
    client: "MlflowClient", name: str, identity: Mapping[str, str], settings: Mapping[str, Any], lacking: str = ""
) -> Iterator[Run]:
    """Open a parent run, or go on with the newest unfinished one of this identity, and end it as what is inside ends.

    FINISHED after the last line, KILLED when interrupted, FAILED with the reason as a tag when something else raises.
    Under `mlflow run` a new one is the run that it has opened; otherwise that one is given up.

    Args:
        name: of a new one, unless the user has named it.
        identity: tags, `phase` among them, that are equal in a parent to go on with.
        settings: what is recorded as its parameters; with `upload_patience`.
        lacking: a tag; a finished parent without it is gone on with, too.

    Raises:
        SettingsError: another process on this machine works on it.
        TrackingError: the store does not answer.
    """
    with uninterrupted() as opened:  # else a run could be left that nobody ends
        run = open_parent(client, name, identity, settings, lacking)
        try:
            opened()
            begin(run)
            request(end_dead_parents, client, run.run_id, phase=identity["phase"])
            with unswallowed():
                yield run
        except Interrupted as signal:
            end_other_interrupted(run, signal, GO_ON)
            raise
        except BaseException as error:
            end_other_failed(run, error)
            raise
        else:
            end_other_finished(run, GO_ON)


def open_parent(
    client: "MlflowClient", name: str, identity: Mapping[str, str], settings: Mapping[str, Any], lacking: str
) -> Run:
    found = find_unfinished(client, identity, lacking)
    run_id, owned_by_mlflow_run = (found, False) if found else request(create_parent, client, name, identity)
    run: Run | None = request(try_take_parent, client, run_id, settings)
    if run is None:
        raise SettingsError(f"another process works on these settings (run {run_id}); wait for it, or change a setting")
    run.owned_by_mlflow_run = owned_by_mlflow_run
    if found:
        run.resumed = True
        keep_project_run(run_id)
    return run


def find_unfinished(client: "MlflowClient", identity: Mapping[str, str], lacking: str) -> str | None:
    """The newest parent of this identity, in the experiment for new runs, that is not FINISHED or lacks the tag."""
    query = f"tags.role = 'parent' and tags.phase = '{identity['phase']}'"
    if not lacking:
        query += " and attributes.status != 'FINISHED'"
    options = {"filter_string": query, "order_by": ["attributes.start_time DESC"]}
    for run in pages(client.search_runs, experiment_ids=[experiment_id(client)], **options):
        tags, run_id = run.data.tags, str(run.info.run_id)
        is_done = run.info.status == "FINISHED" and lacking in tags
        if is_done or not is_the_same(tags, identity):
            continue
        is_here = (runs_folder() / run_id).exists() or was_here_and_died(tags)
        if run.info.status != "RUNNING" or is_here:
            return run_id
        say(f"run {run_id} has the same settings and is under way on {tags.get('host', 'another machine')}")
    return None


def is_the_same(tags: Mapping[str, str], identity: Mapping[str, str]) -> bool:
    """Whether a run has this identity; a setting that is younger than the run counts with its default."""
    known, wanted = ({**each, "settings": settings_from(each.get("settings", ""))} for each in (tags, identity))
    return all(known.get(key) == value for key, value in wanted.items())


def settings_from(tag: str) -> dict[str, Any] | None:
    """Settings from a tag, with those that it does not have yet; None where it says nothing that can be read."""
    try:
        return with_younger(json.loads(tag))
    except (TypeError, ValueError):
        return None


def begin(run: Run) -> None:
    """Log what the run is about, if that is not logged yet, and who works on it now."""
    run.log_tags(**this_process())
    if run.resumed:
        run.log_missing_tags("failure", "interrupted_by")
        run.log_status("RUNNING")
    log_settings(run)


def is_resumable(client: "MlflowClient", run: Any) -> bool:
    """Whether a run below a parent can be gone on with; one whose process died and left nothing is ended.

    Of one that is under way elsewhere it is said, too: who resumes it learns how to end it.
    """
    run_id, folder = run.info.run_id, runs_folder() / run.info.run_id
    if (folder / "settings.json").exists():
        if run.info.status == "RUNNING" and is_free(folder):
            request(mark_killed, client, run_id)
        return True
    if run.info.status == "RUNNING" and not was_here_and_died(run.data.tags):
        return True
    if any(file.path == "checkpoints" for file in request(client.list_artifacts, run_id)):
        return True
    if run.info.status == "RUNNING":
        request(end_dead_run, client, run_id, "KILLED", interrupted_by=CUT_OFF)
    return False
