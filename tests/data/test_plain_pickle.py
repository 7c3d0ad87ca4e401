"""Pickles as Python 2 and today's numpy write them are read; those that would run code or choose addresses are not."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy._core.multiarray import _reconstruct
from numpy._core.numeric import _frombuffer

from imagelab.data.plain_pickle import PlainArray, PlainUnpickler
from tests.conftest import LONGEST

ARRAYS = [
    np.arange(12, dtype=np.uint8).reshape(3, 4),
    np.asfortranarray(np.arange(-6, 6).reshape(3, 4)),
    np.arange(5, dtype=">u2"),
    np.arange(24, dtype="<i4").reshape(2, 3, 4)[:, ::-1],
]


def read(content: bytes) -> Any:
    return PlainUnpickler(io.BytesIO(content), encoding="bytes").load()


def read_array(content: bytes) -> np.ndarray:
    plain = read(content)
    assert isinstance(plain, PlainArray)
    return plain.array


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_arrays_of_todays_numpy_are_read(array: np.ndarray, protocol: int) -> None:
    found = read_array(pickle.dumps(array, protocol))
    assert found.dtype == array.dtype
    assert (found == array).all()


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote its strings."""

    def save_string(self, value: Any) -> None:
        content = value.encode() if isinstance(value, str) else value
        self.write(pickle.BINSTRING + len(content).to_bytes(4, "little") + content)

    dispatch = {**pickle._Pickler.dispatch, str: save_string, bytes: save_string}  # type: ignore[dict-item]


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_arrays_of_python_2_are_read(array: np.ndarray) -> None:
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(array)
    content = file.getvalue().replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core.multiarray" in content
    found = read_array(content)
    assert found.dtype == array.dtype
    assert (found == array).all()


@pytest.mark.parametrize("protocol", range(6))
def test_plain_containers_are_read(protocol: int) -> None:
    values = {"text": ["a", 1, -1.5, None, True], "more": ({"deep": (10**30,)},)}
    assert read(pickle.dumps(values, protocol)) == values


class Call:
    """Pickles as a call of `function`, then of what it returned with `state`, if that is given."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def with_state(*state: Any) -> Call:
    return Call(_reconstruct, np.ndarray, (0,), b"b", state=state)


def dtype_with(*state: Any) -> Call:
    return Call(np.dtype, "u1", False, True, state=state)


ADDRESSES = b"A" * 64
U1, OBJECT = np.dtype("u1"), np.dtype("O")
HUGE = (1 << 40,)
CALLS = {
    "os.system": Call(os.system, "touch broken_in"),
    "eval": Call(eval, "open('broken_in', 'w')"),
    "getattr": Call(getattr, "text", "format"),
    "numpy.load": Call(np.load, "file"),
    "numpy.memmap": Call(np.memmap, "broken_in", "u1", "w+", 0, (1,)),
    "numpy scalar": np.float64(1),
    "ndarray of objects": Call(np.ndarray, (8,), OBJECT, ADDRESSES),
    "ndarray of objects by name": Call(np.ndarray, (8,), "O", ADDRESSES),
    "ndarray of numbers": Call(np.ndarray, (8,), U1, ADDRESSES),
    "ndarray, huge": Call(np.ndarray, HUGE, U1),
    "ndarray, negative strides": Call(np.ndarray, (8,), U1, ADDRESSES, 0, (-8,)),
    "array of objects": np.array([b"x"], object),
    "array of text": np.array(["x"]),
    "array of dates": np.array(["2020-01-01"], "M8[s]"),
    "array of void": np.zeros(1, "V8"),
    "structured array": np.zeros(1, [("a", "u1")]),
    "structured array of objects": np.zeros(1, [("a", "O")]),
    "subclass": np.ma.masked_array([1]),
    "state of objects": with_state(1, (8,), OBJECT, False, ADDRESSES),
    "state of objects by name": with_state(1, (8,), "O", False, ADDRESSES),
    "state with a list": with_state(1, (2,), U1, False, [1, 2]),
    "state with text": with_state(1, (2,), U1, False, "ab"),
    "state, huge": with_state(1, HUGE, U1, False, b"A"),
    "state, overflowing": with_state(1, (1 << 32, 1 << 32, 64), U1, False, ADDRESSES),
    "state, negative": with_state(1, (-1,), U1, False, ADDRESSES),
    "state, twice negative": with_state(1, (-8, -8), U1, False, ADDRESSES),
    "state, too short": with_state(1, (4,), U1, False, ADDRESSES),
    "state, shape a list": with_state(1, [64], U1, False, ADDRESSES),
    "state, without version": with_state((64,), U1, False, ADDRESSES),
    "dtype of objects": Call(np.dtype, "O8", False, True),
    "dtype with flags": dtype_with(3, "|", None, None, None, -1, -1, 63),
    "dtype with a size": dtype_with(3, "|", None, None, None, 8, 8, 0),
    "dtype with fields": dtype_with(3, "|", None, ("a",), {"a": (OBJECT, 0)}, 8, 1, 27),
    "dtype with a subarray": dtype_with(3, "|", (OBJECT, (8,)), None, None, -1, -1, 0),
    "dtype with metadata": dtype_with(4, "|", None, None, None, -1, -1, 0, {}),
    "dtype of an odd order": dtype_with(3, "O", None, None, None, -1, -1, 0),
    "reconstruct, huge": Call(_reconstruct, np.ndarray, HUGE, b"b"),
    "reconstruct of objects": Call(_reconstruct, np.ndarray, (0,), b"O"),
    "reconstruct of a number": Call(_reconstruct, 1, (0,), b"b"),
    "buffer of objects": Call(_frombuffer, ADDRESSES, OBJECT, (8,), "C"),
    "buffer of objects by name": Call(_frombuffer, ADDRESSES, "O", (8,), "C"),
    "buffer, huge": Call(_frombuffer, ADDRESSES, U1, HUGE, "C"),
    "buffer, negative": Call(_frombuffer, ADDRESSES, U1, (-1,), "C"),
    "buffer of an array": Call(_frombuffer, np.arange(8), U1, (64,), "C"),
    "buffer, odd order": Call(_frombuffer, ADDRESSES, U1, (64,), "K", (0,)),
}  # fmt: skip
RAW = {
    "new ndarray of objects": b"\x80\x02cnumpy\nndarray\nK\x01\x85X\x01\x00\x00\x00O\x86\x81.",
    "a stand-in altered": b"\x80\x02cnumpy\ndtype\n}X\x08\x00\x00\x00__call__K\x01sb.",
    "a stand-in's slots altered": b"\x80\x02cnumpy\ndtype\nN}X\x09\x00\x00\x00__class__K\x01s\x86b.",
    "persistent": b"\x80\x02K\x01Q.",
    "registered": b"\x80\x02\x82\x01.",
    "out-of-band buffer": pickle.dumps(np.arange(8), 5, buffer_callback=lambda _: None),
}
READ_ALL = """
import pathlib, sys
from imagelab.data.plain_pickle import PlainUnpickler

for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    print(path.name, end=": ", flush=True)
    try:
        with path.open("rb") as file:
            print("READ", PlainUnpickler(file, encoding="bytes").load())
    except Exception as error:
        print("refused,", error)
"""


def read_elsewhere(folder: Path) -> dict[str, str]:
    """What becomes of each pickle in a folder, in a process of its own: memory errors must not end the tests."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n" + READ_ALL
    command = [sys.executable, "-c", limited, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, timeout=LONGEST, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())  # type: ignore[misc]


def test_a_pickle_that_runs_code_or_chooses_addresses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pickles").mkdir()
    hostile = {name: pickle.dumps(call, 4) for name, call in CALLS.items()} | RAW
    for name, content in hostile.items():
        (tmp_path / "pickles" / name).write_bytes(content)
    verdicts = read_elsewhere(tmp_path / "pickles")
    assert verdicts.keys() == hostile.keys()
    assert [f"{name}: {verdict}" for name, verdict in verdicts.items() if not verdict.startswith("refused")] == []
    assert "asks for posix.system" in verdicts["os.system"]
    assert "not callable" in verdicts["ndarray of objects by name"]
    assert [path.name for path in tmp_path.iterdir()] == ["pickles"]


def test_a_small_pickle_takes_little_memory(tmp_path: Path) -> None:
    """A memo entry of a high number, for which Python's unpickler in C fills a table of 32 GB."""
    (tmp_path / "memo").write_bytes(b"\x80\x04K\x01r\xff\xff\xff\x7f.")
    assert read_elsewhere(tmp_path) == {"memo": "READ 1"}
