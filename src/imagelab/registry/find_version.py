"""One request for a version of a registered model, asked again for a while where the registry does not answer."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry import ModelVersion

from imagelab.errors import TrackingError
from imagelab.tracking import is_missing, reason_of, retry
from imagelab.tracking.retry import PATIENCE

if TYPE_CHECKING:
    from imagelab.tracking import Client


def find_version(client: "Client", name: str, number: str, patience: float = PATIENCE) -> ModelVersion | None:
    """The version of a registered model with this number, or None.

    Raises:
        TrackingError: the registry does not answer.
    """
    return find(client.get_model_version, name, number, patience=patience)


def find(method: Callable[..., Any], *arguments: str, patience: float) -> Any:
    """What a request finds; None where there is no such thing."""
    try:
        return retry(partial(method, *arguments), patience)
    except TrackingError as error:
        if is_missing(error):
            return None
        cause = error.__cause__
        reason = reason_of(cause) if isinstance(cause, Exception) else str(error)
        raise TrackingError(f"the model registry does not answer ({reason})") from cause
