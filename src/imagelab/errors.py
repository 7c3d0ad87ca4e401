"""What can go wrong in a way the user can mend; each message says what was given, what was expected and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager


class ImagelabError(Exception):
    """The command failed (exit code 1); the message is one line for standard error."""


class SettingsError(ImagelabError):
    """A setting is wrong (exit code 2): nothing was trained."""


class DataError(ImagelabError):
    """A data set is missing, damaged or of the wrong shape."""


class WeightsError(ImagelabError):
    """Pretrained weights cannot be had."""


class TrackingError(ImagelabError):
    """The tracking store cannot be used, or did not take everything."""


class RegistryError(ImagelabError):
    """A registered model, or a version of it, is missing, damaged or not good enough."""


class PredictionError(ImagelabError):
    """Images cannot be classified, or their answers not be written."""


class DivergedError(ImagelabError):
    """The loss became NaN or infinite."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM; not an Exception, so that no library swallows it."""


@contextmanager
def unswallowed() -> Iterator[None]:
    """Let an interruption that a library has turned into an error of its own be one again.

    TensorFlow's conversion of shapes to tensors, for one, catches whatever is raised in it and raises a TypeError.
    """
    try:
        yield
    except Exception as error:
        behind: BaseException | None = error
        while behind and not isinstance(behind, Interrupted):
            behind = behind.__cause__ or behind.__context__
        if behind:
            raise behind from None
        raise
