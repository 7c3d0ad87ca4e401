"""The database that a study lives in: Optuna's own, which waits for one that has gone away."""

import functools
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from sqlalchemy.exc import OperationalError

from imagelab.console import say
from imagelab.errors import TrackingError
from imagelab.tracking import database_path, is_alive_here, reason_of, without_password
from imagelab.tuning.lock import ALIVE, lock_database

HEARTBEATS_A_GRACE_PERIOD = 4
LONGEST_PAUSE = 5.0
ASKED_BY_THE_CACHE = (  # which Optuna puts before the storage
    *("_create_new_trial", "_set_trial_param", "_get_trials", "_get_best_trial_id"),
    *("get_trial_id_from_study_id_trial_number", "record_heartbeat"),
)


class PatientStorage(RDBStorage):
    """Optuna's storage; a database that is away is waited for, `patience` seconds at most.

    A request that is repeated may have succeeded the first time, unnoticed. So a trial may be begun or put in line
    twice: `claims.py` closes the one that nobody works on, `states.py` counts only one of the two.

    Attributes:
        back: when the database last came back (monotonic clock).
    """

    def __init__(self, url: str, patience: float, **options: Any) -> None:
        self.patience, self.back = patience, float("-inf")
        connecting = {"timeout": 60} if url.startswith("sqlite") else ALIVE
        super().__init__(url, engine_kwargs={"pool_pre_ping": True, "connect_args": connecting}, **options)

    def stale_trials(self, study_id: int) -> list[int]:
        """Trials without a sign of life; none just after an outage, in which nobody could give one.

        Nor those of a process that is alive on this machine, which may have been asleep.
        """
        if time.monotonic() - self.back < (self.grace_period or 0):
            return []
        stale = RDBStorage._get_stale_trial_ids(self, study_id)
        return [trial for trial in stale if not is_alive_here(self.get_trial(trial).user_attrs.get("process", {}))]


def patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def insist(storage: PatientStorage, *arguments: Any, **options: Any) -> Any:
        deadline, pause = None, 0.25
        while True:
            try:
                result = method(storage, *arguments, **options)
            except UpdateFinishedTrialError:
                if deadline is None:
                    raise
                result = True  # the first attempt has finished the trial
            except (OperationalError, StorageInternalError) as error:
                if not is_away(error):
                    raise
                deadline = deadline or first_failure(storage, error)
                if time.monotonic() > deadline:
                    storage.patience = 0  # whatever is asked on the way out
                    raise given_up(storage, error) from error
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if deadline is not None:
                storage.back = time.monotonic()
            return result

    return insist


def first_failure(storage: PatientStorage, error: Exception) -> float:
    say(f"the study database does not answer ({reason_of(cause_of(error))}); waiting up to {storage.patience:g} s")
    return time.monotonic() + storage.patience


def given_up(storage: PatientStorage, error: Exception) -> TrackingError:
    return TrackingError(
        f"the study database has not answered for {storage.patience:g} s ({reason_of(cause_of(error))}); when it is "
        "back, the same command goes on"
    )


def cause_of(error: Exception) -> Exception:
    """The driver's own error; Optuna's speaks of the commit, whatever it was."""
    return error.__cause__ if isinstance(error.__cause__, Exception) else error


def is_away(error: BaseException) -> bool:
    """Whether the database did not answer, rather than refuse."""
    cause = error if isinstance(error, sqlalchemy.exc.DBAPIError) else error.__cause__
    return isinstance(cause, OperationalError | sqlalchemy.exc.InterfaceError) or bool(
        getattr(cause, "connection_invalidated", False)
    )


for name in optuna.storages.BaseStorage.__abstractmethods__.union(ASKED_BY_THE_CACHE):
    setattr(PatientStorage, name, patient(getattr(RDBStorage, name)))
setattr(PatientStorage, "_get_stale_trial_ids", patient(PatientStorage.stale_trials))  # noqa: B010


def open_storage(url: str, patience: float, grace_period: int) -> PatientStorage:
    """The study database; its tables are made if there are none.

    Args:
        grace_period: seconds without a sign of life after which a trial is stale.

    Raises:
        TrackingError: the database does not answer, or is not Optuna's.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    logging.getLogger("alembic").setLevel(logging.WARNING)
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
