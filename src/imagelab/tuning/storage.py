"""The database that a study lives in: Optuna's own, which waits for one that has gone away, and a lock for a study."""

import functools
import hashlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import OperationalError

from imagelab.errors import TrackingError
from imagelab.tracking import database_path, reason_of, without_password

HEARTBEATS_A_GRACE_PERIOD = 4
LONGEST_PAUSE = 5.0
ASKED_BY_THE_CACHE = (  # which Optuna puts before the storage
    *("_create_new_trial", "_set_trial_param", "_get_trials", "_get_best_trial_id", "_get_stale_trial_ids"),
    *("get_trial_id_from_study_id_trial_number", "record_heartbeat"),
)

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore", ExperimentalWarning)
logging.getLogger("alembic").setLevel(logging.WARNING)


class PatientStorage(RDBStorage):
    """Optuna's storage; a database that is away is waited for, `patience` seconds at most.

    A method that is tried again may have succeeded the first time, unnoticed: at worst a trial is left that nobody
    works on, which is closed and tried again like those of dead workers.
    """

    def __init__(self, url: str, patience: float, **options: Any) -> None:
        self.patience = patience
        engine = {"pool_pre_ping": True}
        if url.startswith("sqlite"):
            engine["connect_args"] = {"timeout": 60}  # type: ignore[assignment]
        super().__init__(url, engine_kwargs=engine, **options)


def patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def insist(storage: PatientStorage, *arguments: Any, **options: Any) -> Any:
        deadline, pause = None, 0.25
        while True:
            try:
                return method(storage, *arguments, **options)
            except (OperationalError, StorageInternalError) as error:
                deadline = deadline or time.monotonic() + storage.patience
                if not is_away(error) or time.monotonic() > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    return insist


def is_away(error: BaseException) -> bool:
    """Whether the database did not answer, rather than refuse."""
    cause = error if isinstance(error, sqlalchemy.exc.DBAPIError) else error.__cause__
    return isinstance(cause, OperationalError | sqlalchemy.exc.InterfaceError) or bool(
        getattr(cause, "connection_invalidated", False)
    )


for name in optuna.storages.BaseStorage.__abstractmethods__.union(ASKED_BY_THE_CACHE):
    setattr(PatientStorage, name, patient(getattr(RDBStorage, name)))
PatientStorage.__abstractmethods__ = frozenset()


def open_storage(url: str, patience: float, grace_period: int) -> PatientStorage:
    """The study database; its tables are made if there are none.

    Args:
        grace_period: seconds without a sign of life after which a trial is stale.

    Raises:
        TrackingError: the database does not answer, or is not Optuna's.
    """
    try:
        with creating(url):
            return PatientStorage(
                url,
                patience,
                heartbeat_interval=max(1, grace_period // HEARTBEATS_A_GRACE_PERIOD),
                grace_period=grace_period,
            )
    except Exception as error:
        raise TrackingError(
            f"storage={without_password(url)}: the database of studies cannot be used ({reason_of(error)}); "
            "it must run, and be one of its own, not the one that MLflow uses"
        ) from error


@contextmanager
def creating(url: str) -> Iterator[None]:
    """Let one process at a time create the tables."""
    if path := database_path(url):
        path.parent.mkdir(parents=True, exist_ok=True)
    with lock_database(url, "create tables"):
        yield


@contextmanager
def lock_database(url: str, name: str, patience: float = 0) -> Iterator[Callable[[], bool]]:
    """Hold the lock `name` of this database; it ends with the process that holds it, or with its connection.

    A file beside a SQLite database, an advisory lock of a PostgreSQL one. Gives a function that says whether it is
    still held.
    """
    if path := database_path(url):
        with FileLock(lock_file(path, name)):
            yield lambda: True
        return
    connection = locked_connection(url, name, patience)
    try:
        yield lambda: is_alive(connection)
    finally:
        connection.invalidate()  # closes it even where the server is gone
        connection.close()


def locked_connection(url: str, name: str, patience: float) -> sqlalchemy.Connection:
    """A connection that holds the advisory lock `name`, waited for."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
    deadline = time.monotonic() + patience
    while True:
        try:
            connection = engine.connect()
            connection.execute(sqlalchemy.text("select pg_advisory_lock(:key)"), {"key": key})
            return connection
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def is_alive(connection: sqlalchemy.Connection) -> bool:
    try:
        connection.execute(sqlalchemy.text("select 1"))
    except sqlalchemy.exc.DBAPIError:
        return False
    return True


def lock_file(database: Path, name: str) -> Path:
    return database.with_name(f".{database.name}.{hashlib.sha256(name.encode()).hexdigest()[:8]}.lock")
