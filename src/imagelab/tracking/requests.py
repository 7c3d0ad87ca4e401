"""Requests to the store, asked again for a while where it is busy or away."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from imagelab.errors import TrackingError
from imagelab.tracking.nested import insist

ResultT = TypeVar("ResultT")
PATIENCE = 20.0  # seconds; SQLite says "locked" at once where two transactions that have read want to write
RACES = 10


def ask(method: Callable[..., ResultT], *arguments: Any, **options: Any) -> ResultT:
    """The answer to a request.

    MLflow sets a tag or an alias that is not there yet by looking first: of two that do so at once one fails with a
    broken UNIQUE constraint (BAD_REQUEST), and has only to ask again.

    Raises:
        TrackingError: the store refused it, or did not answer for PATIENCE seconds.
    """
    for _ in range(RACES):
        try:
            return insist(partial(method, *arguments, **options), PATIENCE)
        except TrackingError as error:
            if code_of(error) != "BAD_REQUEST":
                raise
            lost = error
    raise lost


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
        page = ask(search, page_token=token, **options)
        yield from page
        if not (token := page.token):
            return
