"""The parent run of a command that goes on when it is typed again, in a real store."""

import os
from typing import Any

import pytest

from imagelab.errors import Interrupted, SettingsError
from imagelab.settings import TrainSettings
from imagelab.tracking import children_of, open_child, repeatable_parent, runs_folder, this_process
from imagelab.tracking.presentation import log_description
from imagelab.tracking.repeatable_parent import is_resumable
from tests.conftest import Project
from tests.tracking.test_operation_run import interrupt_once

IDENTITY = {"phase": "replicates", "settings": "{}", "dataset_digest": "d"}
SETTINGS = TrainSettings(seeds="2").with_recipe().record()


def dead() -> dict[str, str]:
    """The tags of a process of this machine that is no more."""
    return this_process() | {"pid": "999999999"}


def left_running(client: Any, **tags: str) -> str:
    """What a process leaves that is killed as soon as it has made a parent run."""
    return str(client.create_run("0", tags={"role": "parent", **IDENTITY, **dead(), **tags}).info.run_id)


def open_parent(client: Any, **identity: str) -> str:
    with repeatable_parent(client, "name", IDENTITY | identity, SETTINGS) as run:
        run.flush()
        return run.run_id


def status_of(client: Any, run_id: str) -> str:
    return str(client.get_run(run_id).info.status)


def test_the_newest_unfinished_parent_is_gone_on_with_and_no_other_is_left_open(client: Any) -> None:
    oldest, newest = left_running(client), left_running(client)
    other, elsewhere = left_running(client, settings="{1}"), left_running(client, host="elsewhere", machine="other")
    assert open_parent(client) == newest
    assert [status_of(client, run_id) for run_id in (oldest, newest, other)] == ["KILLED", "FINISHED", "KILLED"]
    assert status_of(client, elsewhere) == "RUNNING"
    assert open_parent(client) == oldest
    begun_anew = open_parent(client)
    assert begun_anew not in (oldest, newest, other)
    assert open_parent(client, dataset_digest="e") not in (begun_anew, other)
    assert not list(runs_folder().iterdir())


def test_a_parent_of_before_a_setting_existed_is_gone_on_with(client: Any) -> None:
    before = left_running(client, settings='{"model": "basic_ann"}')
    assert open_parent(client, settings='{"model": "basic_ann", "teacher": "models:/m-1"}') != before
    assert open_parent(client, settings='{"teacher": null, "model": "basic_ann"}') == before


def test_it_ends_as_what_is_done_inside_and_is_gone_on_with(client: Any) -> None:
    ends = [(Interrupted("SIGINT"), "KILLED", "interrupted_by"), (ValueError("odd"), "FAILED", "failure")]
    for error, status, tag in ends:
        with pytest.raises(type(error)), repeatable_parent(client, "name", IDENTITY, SETTINGS) as run:
            raise error
        found = client.get_run(run.run_id)
        assert (found.info.status, tag in found.data.tags) == (status, True)
        assert open_parent(client) == run.run_id
        assert tag not in client.get_run(run.run_id).data.tags


def test_ctrl_c_while_the_end_is_delivered_makes_it_killed(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted), repeatable_parent(client, "name", IDENTITY, SETTINGS) as run:
        interrupt_once(monkeypatch)
    assert client.get_run(run.run_id).info.status == "KILLED"
    assert open_parent(client) == run.run_id
    assert client.get_run(run.run_id).info.status == "FINISHED"


def test_two_at_once_are_refused(client: Any) -> None:
    with repeatable_parent(client, "name", IDENTITY, SETTINGS) as run:
        run.flush()
        with pytest.raises(SettingsError, match=f"another process works on these settings .run {run.run_id}"):
            open_parent(client)


def test_the_run_of_mlflow_run_is_taken_and_keeps_the_name_that_the_user_gave(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, name in (("mine", "mine"), (None, "name")):
        opened = client.create_run("0", run_name=given).info.run_id
        monkeypatch.setenv("MLFLOW_RUN_ID", opened)
        assert open_parent(client) == opened
        assert client.get_run(opened).info.run_name == name
        assert "MLFLOW_RUN_ID" not in os.environ


def test_children_are_found_and_those_that_left_nothing_are_ended(client: Any, project: Project) -> None:
    with repeatable_parent(client, "name", IDENTITY, SETTINGS) as parent:
        tags = {"mlflow.parentRunId": parent.run_id, "role": "final"}
        lost = client.create_run("0", tags=tags | dead()).info.run_id  # killed before its folder was made
        kept = open_child(client, parent.run_id, "kept", {"role": "final"}, {"upload_patience": 5})
        (kept.folder / "settings.json").write_text("{}")
        kept.release()
        runs = {run.info.run_id: run for run in children_of(client, parent.run_id)}
        assert set(runs) == {lost, kept.run_id}
        assert [is_resumable(client, runs[run_id]) for run_id in (lost, kept.run_id)] == [False, True]
        assert [status_of(client, run_id) for run_id in (lost, kept.run_id)] == ["KILLED", "KILLED"]
        log_description(parent, "the result")
    assert client.get_run(parent.run_id).data.tags["mlflow.note.content"] == "the result"
