"""Interruptions: raised at once, but not in the middle of what must be whole."""

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.study import StudyDirection

from imagelab.errors import Interrupted
from imagelab.signals import interruptible, uninterrupted
from imagelab.tuning.outage import Patience
from imagelab.tuning.storage import open_storage
from tests.conftest import Project

ROUNDS = 60  # without `uninterrupted`, one in ten left the database locked


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interruption_waits_for_the_end_of_a_whole_and_comes_once() -> None:
    steps = []
    with pytest.raises(Interrupted, match="SIGINT"), interruptible():
        with uninterrupted():
            with uninterrupted():
                interrupt()
                steps.append("inside")
            interrupt()
            steps.append("still inside")
        steps.append("after")
    assert steps == ["inside", "still inside"]


def test_without_one_it_comes_at_once_and_nothing_comes_without_a_signal() -> None:
    with pytest.raises(Interrupted), interruptible():
        with uninterrupted():
            pass
        interrupt()
        time.sleep(10)
    with uninterrupted():
        pass


def test_the_second_signal_of_one_interruption_is_left_out_in_the_clean_up_too() -> None:
    """As `mlflow run` sends it, and a clean-up whose request takes longer than two signals count as one."""
    steps = []
    with pytest.raises(Interrupted, match="SIGINT"), interruptible():
        try:
            interrupt()
        finally:
            with uninterrupted():
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(2.1)
            steps.append("cleaned up")
    assert steps == ["cleaned up"]


def test_the_error_of_a_request_is_kept_beside_the_interruption() -> None:
    with pytest.raises(Interrupted) as raised, interruptible(), uninterrupted():
        interrupt()
        raise ValueError("of the request")
    assert isinstance(raised.value.__context__, ValueError)


def study_requests(folder: Path) -> tuple[Path, Callable[[], Any]]:
    """A study database, and requests to it."""
    path = folder / "optuna.db"
    storage = open_storage(f"sqlite:///{path}", Patience(5), 60)
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    trial = storage.create_new_trial(study)

    def work() -> None:
        storage.record_heartbeat(trial)
        storage.get_all_trials(study)
        storage.set_trial_user_attr(trial, "a", 1)

    return path, work


@pytest.mark.parametrize("store", ["study", "tracking"])
def test_whoever_is_interrupted_in_a_request_leaves_the_database_unlocked(
    store: str, client: Any, project: Project, tmp_path: Path
) -> None:
    dice = random.Random(0)
    if store == "study":
        path, work = study_requests(tmp_path)
    else:
        path, run_id = project.folder / "mlflow.db", client.create_run("0").info.run_id

        def work() -> None:
            client.search_runs(["0"])
            client.set_tag(run_id, "a", "b")

    for number in range(ROUNDS):
        with pytest.raises(Interrupted) as kept, interruptible():
            threading.Timer(dice.uniform(0.001, 0.05), interrupt).start()
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                work()
        with sqlite3.connect(path, timeout=0) as other:
            other.execute("create table mine (number)" if not number else f"insert into mine values ({number})")
        other.close()
        del kept
