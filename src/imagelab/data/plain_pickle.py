"""Pickles of plain containers and numeric numpy arrays, read without running anything that the file chooses.

numpy's own constructors are no protection: `numpy.ndarray`, called with an object dtype and a bytes buffer, takes the
file's bytes for addresses. So nothing of numpy is handed to the pickle: it gets stand-ins, which check what they are
told and then build the array themselves, as a view of bytes that are in the file.
"""

import pickle
import reprlib
from typing import Any

import numpy as np

NUMBERS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}
BYTE_ORDERS = ("|", "<", ">", "=")
NO_FIELDS = (None, None, None, -1, -1, 0)  # of numpy's dtype state: no subarray, names, fields, size, alignment, flags


class PlainUnpickler(pickle._Unpickler):
    """Reads pickles whose arrays are `PlainArray`s and whose other values are plain containers, numbers and text.

    It is Python's unpickler in Python, as fast here as the one in C, whose memo a few bytes can make take 64 GB.

    Raises:
        pickle.UnpicklingError: the pickle asks for anything else.
    """

    def find_class(self, module: str, name: str) -> Any:
        stand_in = STAND_INS.get((module.replace("numpy._core", "numpy.core"), name))
        if stand_in is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array and no plain container")
        return stand_in


class StandIn:
    """What a pickle is given in place of a part of numpy; without attributes, so that it cannot be altered."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise refused(type(self).__name__, state)


class ArrayType(StandIn):
    """In place of `numpy.ndarray`: only a name, not to be called."""

    __slots__ = ()


class PlainDtype(StandIn):
    """A dtype of whole numbers."""

    __slots__ = ("dtype",)

    def __init__(self, code: str) -> None:
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) == 8 and state[0] == 3 and state[2:] == NO_FIELDS):
            raise refused("dtype state", state)
        if as_text(state[1]) not in BYTE_ORDERS:
            raise refused("byte order", state[1])
        self.dtype = self.dtype.newbyteorder(as_text(state[1]))  # type: ignore[arg-type]


class PlainArray(StandIn):
    """An array of whole numbers, empty until its content is read."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        """Take numpy's array state: version, shape, dtype, whether in Fortran's order, content."""
        if not (isinstance(state, tuple) and len(state) == 5 and state[0] == 1 and isinstance(state[3], int)):
            raise refused("array state", state)
        self.array = view(state[4], state[2], state[1], "F" if state[3] else "C")


class Reconstruct(StandIn):
    """In place of `_reconstruct`: an empty array, whose content follows as its state."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> PlainArray:
        if arguments != (ARRAY_TYPE, (0,), b"b"):
            raise refused("array", arguments)
        return PlainArray()


class FromBuffer(StandIn):
    """In place of `_frombuffer`: an array of pickle protocol 5, whose content is in the file."""

    __slots__ = ()

    def __call__(self, content: Any, dtype: Any, shape: Any, order: Any, axis_order: None = None) -> PlainArray:
        if axis_order is not None or as_text(order) not in ("C", "F"):
            raise refused("order of axes", (order, axis_order))
        plain = PlainArray()
        plain.array = view(content, dtype, shape, as_text(order))
        return plain


class MakeDtype(StandIn):
    """In place of `numpy.dtype`; the two flags (align, copy) mean nothing for plain numbers."""

    __slots__ = ()

    def __call__(self, code: Any, *flags: Any) -> PlainDtype:
        if as_text(code) not in NUMBERS:
            raise refused("dtype", code)
        return PlainDtype(as_text(code))


ARRAY_TYPE = ArrayType()
STAND_INS = {
    ("numpy", "ndarray"): ARRAY_TYPE,
    ("numpy", "dtype"): MakeDtype(),
    ("numpy.core.multiarray", "_reconstruct"): Reconstruct(),
    ("numpy.core.numeric", "_frombuffer"): FromBuffer(),
}


def view(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """The bytes `content` as an array; numpy checks that they are exactly as many as the shape needs."""
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, PlainDtype):
        raise refused("array content", (type(content), dtype))
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise refused("shape", shape)
    return np.frombuffer(content, dtype.dtype).reshape(shape, order=order)


def as_text(value: Any) -> str:
    """Text as Python 3 (str) or Python 2 (bytes) pickled it; empty where it is neither."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text if isinstance(text, str) else ""


def refused(what: str, given: Any) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f"its {what} is none of a plain numeric array: {reprlib.repr(given)}")
