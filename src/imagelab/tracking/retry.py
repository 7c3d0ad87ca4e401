"""Requests to the store, asked again for a while where it is busy or away; the one loop that does so."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from imagelab.errors import TrackingError
from imagelab.tracking.store import may_pass, reason_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

ResultT = TypeVar("ResultT")
PATIENCE = 20.0  # seconds; SQLite says "locked" at once where two transactions that have read want to write
RACES = 10


def backoff(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each new attempt: twice as long as before, up to `longest`."""
    while True:
        yield first
        first = min(2 * first, longest)


def retry(call: Callable[[], ResultT], patience: float) -> ResultT:
    """The result of a request to the store; one that is away is asked again for `patience` seconds.

    Raises:
        TrackingError: the store refused it, or did not answer in that time.
    """
    deadline, pauses = time.monotonic() + patience, backoff(0.25, 5.0)
    while True:
        try:
            return call()
        except TrackingError:  # of a request inside, which was asked again already
            raise
        except Exception as error:
            if not may_pass(error) or time.monotonic() > deadline:
                raise TrackingError(f"the tracking store did not take a request ({reason_of(error)})") from error
            time.sleep(next(pauses))


def request(method: Callable[..., ResultT], *arguments: Any, **options: Any) -> ResultT:
    """The answer to a request.

    MLflow sets a tag or an alias that is not there yet by looking first: of two that do so at once one fails with a
    broken UNIQUE constraint (BAD_REQUEST), and has only to ask again.

    Raises:
        TrackingError: the store refused it, or did not answer for PATIENCE seconds.
    """
    for race in range(RACES):
        try:
            return retry(partial(method, *arguments, **options), PATIENCE)
        except TrackingError as error:
            if code_of(error) != "BAD_REQUEST":
                raise
            lost = error
        time.sleep(random.uniform(0, 0.01 * race))
    raise lost


def request_or_none(method: Callable[..., ResultT], *arguments: Any) -> ResultT | None:
    """The answer to a request; None where what it is about does not exist."""
    try:
        return request(method, *arguments)
    except TrackingError as error:
        if is_missing(error):
            return None
        raise


def is_missing(error: TrackingError) -> bool:
    """Whether what the request was about does not exist."""
    return code_of(error) in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")


def code_of(error: TrackingError) -> str:
    """MLflow's name of what went wrong; empty where it was none of MLflow's errors."""
    return str(getattr(error.__cause__, "error_code", ""))


def pages(search: Callable[..., Any], **options: Any) -> Iterator[Any]:
    """Every result of a search, whatever the number."""
    token = None
    while True:
        page = request(search, page_token=token, **options)
        yield from page
        if not (token := page.token):
            return


def runs_of_all(client: "MlflowClient", query: str, order: Sequence[str] = ()) -> Iterator[Any]:
    """The runs of every experiment that a filter finds."""
    experiments = [experiment.experiment_id for experiment in pages(client.search_experiments)]
    yield from pages(client.search_runs, experiment_ids=experiments, filter_string=query, order_by=list(order))
