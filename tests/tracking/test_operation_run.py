"""The run of a promotion or rollback, however that ends, in a real store."""

from typing import Any

import pytest
from mlflow.entities import ViewType

from imagelab.errors import Interrupted, RegistryError, SettingsError, TrackingError
from imagelab.tracking import (
    Run,
    create_history_run,
    create_parent,
    open_child,
    operation_run,
    runs_folder,
    this_process,
    write_param_once,
)
from imagelab.tracking.outbox import Outbox


def newest(client: Any) -> Any:
    return client.search_runs(["0"], run_view_type=ViewType.ALL)[0]


def test_the_store_has_what_was_logged_when_it_is_flushed_and_the_end_when_it_is_over(client: Any) -> None:
    with operation_run(client, "promotion", "digits-basic_ann", {"run_id": None, "min_accuracy": 0.5}) as run:
        run.log_text("comparison.json", "{}")
        run.log_metrics({"challenger_accuracy": 0.75})
        run.flush()
        assert [file.path for file in client.list_artifacts(run.run_id)] == ["comparison.json"]
        found = client.get_run(run.run_id)
        assert found.data.params == {"run_id": "None", "min_accuracy": "0.5"}
        assert found.data.metrics == {"challenger_accuracy": 0.75}
        assert (found.data.tags["role"], found.data.tags["phase"]) == ("promotion", "promotion")
        assert found.info.status == "RUNNING"
        run.log_tags(verdict="promoted")
    found = newest(client)
    assert (found.info.status, found.data.tags["verdict"]) == ("FINISHED", "promoted")
    assert not list(runs_folder().iterdir())


@pytest.mark.parametrize(
    ("error", "status", "stage", "tags", "files"),
    [
        (RegistryError("too bad"), "FAILED", "active", {"failure": "RegistryError: too bad"}, []),
        (RuntimeError("odd"), "FAILED", "active", {"failure": "RuntimeError: odd"}, ["failure.txt"]),
        (Interrupted("SIGINT"), "KILLED", "active", {"interrupted_by": "SIGINT"}, []),
        (SettingsError("to_version"), "FAILED", "deleted", {}, []),
    ],
)
def test_a_run_ends_as_its_operation_does(
    client: Any, error: BaseException, status: str, stage: str, tags: dict[str, str], files: list[str]
) -> None:
    with pytest.raises(type(error)), operation_run(client, "rollback", "digits-basic_ann", {}):
        raise error
    found = newest(client)
    assert (found.info.status, found.info.lifecycle_stage) == (status, stage)
    assert tags.items() <= found.data.tags.items()
    assert [file.path for file in client.list_artifacts(found.info.run_id)] == files
    assert not list(runs_folder().iterdir())


def test_ctrl_c_while_the_end_is_delivered_makes_it_killed(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted), operation_run(client, "evaluation", "digits-basic_ann", {}):
        interrupt_once(monkeypatch)
    found = newest(client)
    assert (found.info.status, found.data.tags["interrupted_by"]) == ("KILLED", "SIGINT")
    assert not list(runs_folder().iterdir())


def interrupt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a run next waits for its delivery."""
    wait, interruptions = Run.wait_for_delivery, iter([Interrupted("SIGINT")])

    def interrupted(run: Run, patience: float | None = None) -> bool:
        for interruption in interruptions:
            raise interruption
        return wait(run, patience)

    monkeypatch.setattr(Run, "wait_for_delivery", interrupted)


def test_what_the_store_refuses_is_said_before_anything_is_done(client: Any) -> None:
    operation = operation_run(client, "promotion", "digits-basic_ann", {})
    with pytest.raises(TrackingError, match="refused part of it.*is kept in"), operation as run:
        run.log_text("comparison.json", "{}")
        run.log_tags(**{"a//b": "no name for a tag"})
        run.flush()
        pytest.fail("the store has taken it")
    assert newest(client).info.status == "FAILED"


def test_the_next_operation_ends_the_run_of_one_that_died_with_what_that_had_logged(client: Any) -> None:
    dead = {**this_process(), "pid": "4194304", "registered_model": "digits-basic_ann"}  # no process has that number
    run_id = client.create_run("0", tags=dead).info.run_id
    (runs_folder() / run_id).mkdir(parents=True)
    Outbox(runs_folder() / run_id).append("tags", values={"challenger": "7"})
    promotable = {**dead, "role": "final", "phase": "ensemble"}
    del promotable["registered_model"]
    silent = client.create_run("0", tags=promotable).info.run_id
    with operation_run(client, "promotion", "digits-basic_ann", {}):
        assert client.get_run(run_id).data.tags["challenger"] == "7"
        for ended in (run_id, silent):
            found = client.get_run(ended)
            assert found.info.status == "KILLED"
            assert found.data.tags["interrupted_by"] == "the end of its process"
    assert not list(runs_folder().iterdir())


def test_other_runs_say_what_they_are(client: Any) -> None:
    parent = create_parent(client, "study", {"phase": "study"})[0]
    run = open_child(client, parent, "trial 0", {"trial_number": "0"}, {"upload_patience": 5})
    fold = open_child(client, parent, "fold 0", {"role": "fold"}, {"upload_patience": 5})
    history = create_history_run(client, "digits-basic_ann")
    roles = [client.get_run(run_id).data.tags["role"] for run_id in (parent, run.run_id, fold.run_id, history)]
    assert roles == ["parent", "trial", "fold", "history"]
    for opened in (run, fold):
        opened.release()
    assert [write_param_once(client, history, "event.0001", value) for value in ("a", "a", "b")] == [True, True, False]
