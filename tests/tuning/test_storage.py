"""The study database: requests to a real PostgreSQL whose connections break, and which is shut down and killed."""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from imagelab.errors import SettingsError, TrackingError
from imagelab.tracking import this_process
from imagelab.tuning import outage
from imagelab.tuning.outage import Patience
from imagelab.tuning.storage import PatientStorage, open_storage
from imagelab.tuning.study_lock import lock_database
from imagelab.tuning.trial_states import counted, enqueued
from tests.conftest import thorough
from tests.postgresql import PostgreSQL

HALF = FloatDistribution(0.0, 1.0)
DEAD = {"host": "elsewhere", "pid": "1", "pid_started": "0"}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def url(server: PostgreSQL) -> str:
    return server.make("studies")


class Breaks:
    """Breaks a connection at the n-th moment from now: before a statement, before a commit or just after one.

    Attributes:
        left: how many moments are still to pass; below 0 once the connection has been broken.
    """

    def __init__(self, engine: sqlalchemy.Engine, url: str) -> None:
        self.left = -1
        self.other = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        sqlalchemy.event.listen(engine, "before_cursor_execute", lambda connection, *_: self.pass_by(connection))
        sqlalchemy.event.listen(engine, "commit", self.commit)

    def commit(self, connection: sqlalchemy.Connection) -> None:
        self.pass_by(connection)
        if self.left == 0:
            connection.connection.dbapi_connection.commit()  # type: ignore[union-attr]
        self.pass_by(connection)

    def pass_by(self, connection: sqlalchemy.Connection) -> None:
        if self.left == 0:
            pid = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
            with self.other.connect() as other:
                other.execute(sqlalchemy.text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        self.left -= 1


class Requests:
    """A study, and requests to it that say what must hold afterwards."""

    def __init__(self, url: str) -> None:
        self.storage = open_storage(url, Patience(60), 60)
        self.seen = RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)  # whose connection holds
        self.breaks = Breaks(self.storage.database.engine, url)
        self.study = self.storage.create_new_study([StudyDirection.MAXIMIZE])
        self.trial = self.storage.create_new_trial(self.study)

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.seen.get_all_trials(self.study)

    def begin(self) -> None:
        before = len(self.trials)
        trial = self.storage.create_new_trial(self.study)
        assert self.seen.get_trial(trial).state == TrialState.RUNNING
        assert 1 <= len(self.trials) - before <= 2  # a second one has no process

    def enqueue(self) -> None:
        before = len(counted(self.trials))
        template = optuna.create_trial(state=TrialState.WAITING, user_attrs=dict(enqueued()))
        self.storage.create_new_trial(self.study, template)
        assert len(counted(self.trials)) == before + 1

    def finish(self) -> None:
        trial = self.seen.create_new_trial(self.study)
        assert self.storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.25])
        assert self.seen.get_trial(trial).values == [0.25]

    def set_param(self) -> None:
        trial = self.seen.create_new_trial(self.study)
        self.storage.get_all_trials(self.study)  # Optuna's cache must know the trial
        self.storage.set_trial_param(trial, "x", 0.5, HALF)
        assert self.seen.get_trial(trial).params == {"x": 0.5}

    def report(self) -> None:
        self.storage.set_trial_intermediate_value(self.trial, 3, 0.5)
        assert self.seen.get_trial(self.trial).intermediate_values == {3: 0.5}

    def set_attributes(self) -> None:
        self.storage.set_trial_user_attr(self.trial, "a", 1)
        self.storage.set_trial_system_attr(self.trial, "b", 2)
        trial = self.seen.get_trial(self.trial)
        assert (trial.user_attrs["a"], trial.system_attrs["b"]) == (1, 2)

    def set_study_attributes(self) -> None:
        self.storage.set_study_user_attr(self.study, "a", 1)
        self.storage.set_study_system_attr(self.study, "b", 2)
        assert self.seen.get_study_user_attrs(self.study) == {"a": 1}
        assert self.seen.get_study_system_attrs(self.study) == {"b": 2}

    def look(self) -> None:
        study = self.storage.get_study_name_from_id(self.study)
        assert self.storage.get_study_id_from_name(study) == self.study
        assert self.storage.get_trial(self.storage.id_of(study, 0)).number == 0
        assert len(self.storage.get_all_trials(self.study)) == 1

    def sign_of_life(self) -> None:
        self.storage.record_heartbeat(self.trial)
        assert self.storage._get_stale_trial_ids(self.study) == []


EACH = (
    *(Requests.begin, Requests.enqueue, Requests.finish, Requests.set_param, Requests.report, Requests.set_attributes),
    *(Requests.set_study_attributes, Requests.look, Requests.sign_of_life),
)


@pytest.mark.parametrize("request_and_check", EACH, ids=lambda function: function.__name__)
def test_a_connection_may_break_at_any_moment(
    url: str, request_and_check: Callable[[Requests], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr("random.random", lambda: 0.0)  # Optuna's own pauses
    requests = Requests(url)
    for moment in range(100):
        requests.breaks.left = moment
        request_and_check(requests)
        if requests.breaks.left >= 0:  # it had fewer moments
            break
    assert 3 < moment < 100


def test_optuna_alone_hides_that_a_connection_broke(url: str) -> None:
    """Why `chain_of` looks at contexts; when this fails, Optuna has changed and that may go."""
    requests = Requests(url)
    requests.breaks.left = 1
    with pytest.raises(StorageInternalError) as raised:
        requests.storage.database.get_all_trials(requests.study)
    assert isinstance(raised.value.__cause__, sqlalchemy.exc.PendingRollbackError)
    assert outage.is_away(raised.value)


def work_until(stop: Event, storage: PatientStorage, study: int) -> list[tuple[int, float]]:
    """Trials, one after the other, each with every request that a worker makes; (number, value) of each."""
    done = []
    while not stop.is_set():
        trial = storage.create_new_trial(study)
        value = storage.get_trial(trial).number / 7
        storage.record_heartbeat(trial)
        storage.set_trial_user_attr(trial, "value", value)
        storage.set_trial_param(trial, "x", 0.5, HALF)
        storage.set_trial_intermediate_value(trial, 1, value)
        assert storage._get_stale_trial_ids(study) == []
        with lock_database(storage.database.url, "a lock", storage.patience):
            assert storage.set_trial_state_values(trial, TrialState.COMPLETE, [value])
        done.append((storage.get_all_trials(study)[storage.get_trial(trial).number].number, value))
    return done


@pytest.mark.parametrize("times", [3, pytest.param(9, marks=thorough)])
def test_a_server_that_is_shut_down_and_killed_again_and_again_costs_nothing(
    server: PostgreSQL, url: str, times: int
) -> None:
    storages = [open_storage(url, Patience(120), 60) for _ in range(3)]
    study, stop = storages[0].create_new_study([StudyDirection.MAXIMIZE]), Event()
    with ThreadPoolExecutor(3) as threads:
        working = [threads.submit(work_until, stop, storage, study) for storage in storages]
        try:
            for outages in range(times):
                time.sleep(0.5 + outages / 20)
                end = (server.kill, lambda: server.stop("fast"), server.stop)[outages % 3]
                end()
                time.sleep(0.1 * (outages % 4))
                server.start()
            time.sleep(1)
        finally:
            stop.set()
        done = dict(pair for future in working for pair in future.result())
    trials = storages[0].get_all_trials(study)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    complete = {trial.number: trial for trial in trials if trial.state == TrialState.COMPLETE}
    assert {number: trial.value for number, trial in complete.items()} == done
    for trial in complete.values():
        assert trial.user_attrs["value"] == trial.intermediate_values[1] == trial.value
        assert trial.params == {"x": 0.5}
    begun_twice = [trial for trial in trials if trial.number not in complete]
    assert all(trial.state == TrialState.RUNNING and not trial.user_attrs for trial in begun_twice)
    assert len(begun_twice) <= 3 * times


def test_a_database_that_stays_away_is_given_up_once(server: PostgreSQL, capfd: pytest.CaptureFixture[str]) -> None:
    url = server.make("short")
    storage = open_storage(url, Patience(0.5), 60)
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    server.stop()
    try:
        with pytest.raises(TrackingError, match=r"has not answered for 0.5 s .*the same command goes on"):
            storage.set_study_user_attr(study, "a", 1)
        assert storage.patience.seconds == 0
        with pytest.raises(TrackingError), lock_database(url, "a lock", storage.patience):
            pass
        with pytest.raises(TrackingError, match="cannot be used"):
            open_storage(url, Patience(60), 60)
    finally:
        server.start()
    assert capfd.readouterr().err.count("the study database does not answer") == 1


def sqlite_storage(folder: Path) -> tuple[PatientStorage, int]:
    storage = open_storage(f"sqlite:///{folder / 'optuna.db'}", Patience(5), 3)
    return storage, storage.create_new_study([StudyDirection.MAXIMIZE], "s")


def test_what_is_refused_is_refused_at_once(tmp_path: Path) -> None:
    storage, study = sqlite_storage(tmp_path)
    trial = storage.create_new_trial(study)
    storage.set_trial_state_values(trial, TrialState.COMPLETE, [1.0])
    for again in (
        lambda: storage.set_trial_state_values(trial, TrialState.COMPLETE, [1.0]),
        lambda: storage.set_trial_user_attr(trial, "a", 1),
    ):
        with pytest.raises(UpdateFinishedTrialError):
            again()
    with pytest.raises(KeyError):
        storage.get_study_id_from_name("another")
    assert storage.patience.outages == 0


def test_the_database_of_runs_is_refused_untouched(empty_database: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(empty_database, tmp_path / "mlflow.db"))
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=r"^storage=sqlite:///.*mlflow.db: is the database of MLflow's runs"):
        open_storage(f"sqlite:///{path}", Patience(0), 60)
    assert path.read_bytes() == before


def test_only_the_trials_of_dead_processes_are_stale(tmp_path: Path) -> None:
    storage, study = sqlite_storage(tmp_path)
    for process in (this_process(), DEAD, None):
        trial = storage.create_new_trial(study)
        if process:
            storage.record_heartbeat(trial)
            storage.set_trial_user_attr(trial, "process", process)
    with storage.database.engine.begin() as connection:
        connection.execute(sqlalchemy.text("update trial_heartbeats set heartbeat = '2020-01-01 00:00:00.000000'"))
    storage.patience.note_outage()
    assert storage._get_stale_trial_ids(study) == []
    storage.patience.last_outage = float("-inf")
    optuna.storages.fail_stale_trials(optuna.load_study(study_name="s", storage=storage))
    assert [trial.state.name for trial in storage.get_all_trials(study)] == ["RUNNING", "FAIL", "RUNNING"]


def test_every_request_of_optuna_waits() -> None:
    """Optuna 5 has these; a new one would be refused as abstract, or go past the waiting."""
    for name in vars(BaseStorage).keys() | {"record_heartbeat", "_get_stale_trial_ids"}:
        if not name.startswith("_") or name == "_get_stale_trial_ids":
            assert getattr(PatientStorage, name) is not getattr(BaseStorage, name, None)
    assert not PatientStorage.__abstractmethods__


def counted_of(*kinds: dict[str, Any]) -> list[int]:
    """Numbers of the trials that count, of trials with these attributes."""
    trials = [optuna.create_trial(state=TrialState.WAITING, user_attrs=attributes) for attributes in kinds]
    for number, trial in enumerate(trials):
        trial.number = number
    return [trial.number for trial in counted(trials)]


def test_of_doubled_trials_one_counts() -> None:
    once: dict[str, Any] = dict(enqueued())
    assert counted_of(once, once, {}, {}) == [0, 2, 3]
    assert counted_of({}, {"retry_of": 0} | once, {"retry_of": 0}, {"void": True}, {}) == [1, 4]
    assert counted_of({"in_line": True}, {"in_line": True}, {"enqueued": True}, {"enqueued": True}) == [0, 1, 2, 3]
