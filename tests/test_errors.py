"""An interruption stays one, whatever a library makes of it."""

import pytest

from imagelab.errors import Interrupted, unswallowed


def swallow(error: BaseException, hide: bool) -> None:
    """What TensorFlow's `constant_op` does with whatever is raised while it converts a value."""
    try:
        raise error
    except BaseException:
        if hide:
            raise TypeError("failed to convert") from None
        raise ValueError("failed to convert")  # noqa: B904


@pytest.mark.parametrize("hide", [True, False])
def test_an_interruption_that_was_turned_into_an_error_is_one_again(hide: bool) -> None:
    with pytest.raises(Interrupted, match="SIGTERM"), unswallowed():
        try:
            swallow(Interrupted("SIGTERM"), hide)
        except Exception as error:
            raise RuntimeError("a layer failed") from error


@pytest.mark.parametrize("hide", [True, False])
def test_other_errors_stay_what_they_are(hide: bool) -> None:
    with pytest.raises((TypeError, ValueError), match="failed to convert"), unswallowed():
        swallow(KeyError("x"), hide)
