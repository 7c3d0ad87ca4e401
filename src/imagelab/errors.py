"""What can go wrong in a way the user can mend; each message says what was given, what was expected and what to do."""

import os
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


class OutOfMemoryError(ImagelabError):
    """A step of a training takes more memory than there is."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM; not an Exception, so that no library swallows it."""


def one_line(error: BaseException) -> str:
    """Why something went wrong, in one short line; of a file, without its name, which is said beside it."""
    if isinstance(error, OSError) and error.errno and error.errno > 0:  # a resolver numbers its own below 0
        return os.strerror(error.errno)  # `strerror` of the error may be a library's longer words
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


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
