"""A study database that is away: which errors say so, and how long a request waits until it is back."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from imagelab.console import say
from imagelab.errors import TrackingError
from imagelab.tracking import reason_of
from imagelab.tracking.retry import backoff

ResultT = TypeVar("ResultT")
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0  # seconds
DATABASE_ERRORS = (SQLAlchemyError, StorageInternalError)  # a driver's error, and what Optuna makes of it


def attempts(patience: float) -> Iterator[None]:
    """Yield for each attempt: at once, then after growing pauses, until `patience` seconds after the first failure."""
    yield
    deadline, pauses = time.monotonic() + patience, backoff(FIRST_PAUSE, LONGEST_PAUSE)
    while time.monotonic() < deadline:
        time.sleep(next(pauses))
        yield


class Patience:
    """How long this process waits for the study database, and when it last had to.

    Attributes:
        seconds: for each outage; 0 after one that lasted longer, so that the last requests of a process fail at once.
        outages: how many this process has noticed.
        last_outage: when the database last came back (monotonic clock).
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.outages, self.last_outage = seconds, 0, float("-inf")

    def wait_for(self, request: Callable[[], ResultT]) -> ResultT:
        """The answer to a request, which is repeated as a whole while the database is away.

        Raises:
            TrackingError: it was away for too long.
        """
        failure: Exception | None = None
        for _ in attempts(self.seconds):
            try:
                answer = request()
            except DATABASE_ERRORS as error:
                if not is_away(error):
                    raise
                if failure is None and self.seconds:
                    self.outages += 1
                    say(f"the study database does not answer ({cause_of(error)}); waiting up to {self.seconds:g} s")
                failure = error
            else:
                if failure:
                    self.note_outage()
                return answer
        waited, self.seconds = self.seconds, 0
        raise TrackingError(
            f"the study database has not answered for {waited:g} s ({cause_of(failure)}); when it is back, the same "
            "command goes on"
        ) from failure

    def note_outage(self) -> None:
        """The database has come back just now."""
        self.last_outage = time.monotonic()


def is_away(error: BaseException) -> bool:
    """Whether the database did not answer, rather than refuse."""
    return any(
        isinstance(reason, OperationalError | InterfaceError) or getattr(reason, "connection_invalidated", False)
        for reason in chain_of(error)
    )


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from.

    Optuna hides the driver's error behind its own, which speaks of a commit. Where it reads trials it also catches the
    driver's, to read them in another way: over the same broken connection, so that all one gets to see is SQLAlchemy's
    PendingRollbackError.
    """
    while error:
        yield error
        error = error.__cause__ or error.__context__


def cause_of(error: BaseException | None) -> str:
    """What the driver said, in one line."""
    reasons = [reason for reason in chain_of(error) if isinstance(reason, DBAPIError)]
    return reason_of(reasons[0]) if reasons else str(error)
