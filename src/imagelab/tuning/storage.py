"""The database that a study lives in: Optuna's own, behind requests that wait for a database that is away."""

import abc
import logging
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.storages._heartbeat import BaseHeartbeat  # no public name, but Optuna asks whether a storage is one
from optuna.trial import TrialState

from imagelab.errors import SettingsError, TrackingError
from imagelab.signals import uninterrupted
from imagelab.tracking import database_path, is_alive_here, reason_of, without_password
from imagelab.tuning.outage import Patience
from imagelab.tuning.study_lock import ALIVE, lock_database

HEARTBEATS_A_GRACE_PERIOD = 4


class PatientStorage(BaseStorage, BaseHeartbeat):
    """Every request of Optuna, repeated as a whole while the database is away.

    SQLAlchemy alone cannot do that: it can wait for a connection, but a connection that breaks inside a transaction
    takes the transaction with it, and only the request knows what was in it. So requests are repeated outside
    Optuna's cache and its transactions, by their public names.

    A request that is repeated may have succeeded the first time, unnoticed. So a trial may be begun or enqueued
    twice: `trial_queue.py` closes the one that no process works on, `trial_states.py` counts only one of the two.
    """

    def __init__(self, database: RDBStorage, patience: Patience) -> None:
        self.database, self.patience = database, patience
        self.cached: Any = get_storage(database)  # with the cache that Optuna itself puts before such a database

    def request(self, name: str, *arguments: Any, **options: Any) -> Any:
        """The answer to the request of this name.

        Raises:
            TrackingError: the database was away for too long.
        """

        def attempt() -> Any:
            with uninterrupted():
                return getattr(self.cached, name)(*arguments, **options)

        return self.patience.wait_for(attempt)

    def id_of(self, study: str, number: int) -> int:
        """By which the database knows the trial of this number."""
        return int(self.get_trial_id_from_study_id_trial_number(self.get_study_id_from_name(study), number))

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        outages = self.patience.outages
        try:
            return bool(self.request("set_trial_state_values", trial_id, state, values))
        except UpdateFinishedTrialError:
            trial = self.get_trial(trial_id)
            mine = trial.state == state and trial.values == (None if values is None else list(values))
            if self.patience.outages == outages or not mine:
                raise
            return True  # the first attempt has finished the trial, unnoticed

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Running trials without a sign of life; none just after an outage, in which no process could give one.

        Nor those of a process that is alive on this machine, which may have been asleep. Optuna closes what this
        names, before each trial; there is no public method for it.
        """
        stale = self.request("_get_stale_trial_ids", study_id)
        if time.monotonic() - self.patience.last_outage < (self.database.grace_period or 0):
            return []
        return [trial for trial in stale if not is_alive_here(self.get_trial(trial).user_attrs.get("process", {}))]


def forwarded(name: str) -> Callable[..., Any]:
    def method(storage: PatientStorage, *arguments: Any, **options: Any) -> Any:
        return storage.request(name, *arguments, **options)

    return method


REQUESTS = {name for kind in (BaseStorage, BaseHeartbeat) for name in vars(kind) if not name.startswith("_")}
for name in REQUESTS - vars(PatientStorage).keys():
    setattr(PatientStorage, name, forwarded(name))
abc.update_abstractmethods(PatientStorage)  # type: ignore[type-abstract]


def open_storage(url: str, patience: Patience, grace_period: int) -> PatientStorage:
    """The study database; its tables are made if there are none.

    Args:
        grace_period: seconds without a sign of life after which a trial is stale.

    Raises:
        SettingsError: it is MLflow's SQLite database.
        TrackingError: the database does not answer, or is not Optuna's.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    refuse_mlflows(url)
    connecting = {"timeout": 60} if url.startswith("sqlite") else ALIVE
    try:
        with only_one_creates(url):
            database = RDBStorage(
                url,
                engine_kwargs={"pool_pre_ping": True, "connect_args": connecting},
                heartbeat_interval=max(1, grace_period // HEARTBEATS_A_GRACE_PERIOD),
                grace_period=grace_period,
            )
    except Exception as error:
        raise TrackingError(
            f"storage={without_password(url)}: the database of studies cannot be used ({reason_of(error)}); "
            "it must run, and be one of its own, not the one that MLflow uses"
        ) from error
    return PatientStorage(database, patience)  # type: ignore[abstract]  # its methods are set above


def refuse_mlflows(url: str) -> None:
    """Raise a SettingsError for the SQLite database of runs: Optuna would make its tables there, and fail then."""
    path = database_path(url)
    if path is not None and path.is_file():
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as database:
            if database.execute("select 1 from sqlite_master where name = 'experiments'").fetchone():
                raise SettingsError(f"storage={url}: is the database of MLflow's runs; name another file for studies")


@contextmanager
def only_one_creates(url: str) -> Iterator[None]:
    """Let one process at a time create the tables."""
    if path := database_path(url):
        path.parent.mkdir(parents=True, exist_ok=True)
    with lock_database(url, "create tables", Patience(0)):
        yield
