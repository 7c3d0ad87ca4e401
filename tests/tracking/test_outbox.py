import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagelab.errors import Interrupted
from imagelab.signals import interruptible
from imagelab.tracking.outbox import Outbox


def test_entries_and_cursor_survive_the_process(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    for number in range(3):
        box.append("tags", values={"number": str(number)})
    box.mark_delivered()
    again = Outbox(tmp_path)
    assert [entry["values"]["number"] for entry in again.pending()] == ["1", "2"]


def test_a_line_torn_by_a_power_cut_is_dropped_and_writing_goes_on(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.append("tags", values={"a": "1"})
    with box.path.open("a") as file:
        file.write('{"kind": "tags", "val')
    again = Outbox(tmp_path)
    again.append("tags", values={"b": "2"})
    assert [entry["values"] for entry in Outbox(tmp_path).pending()] == [{"a": "1"}, {"b": "2"}]


def test_an_interruption_while_writing_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise Interrupted

    box = Outbox(tmp_path)
    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(Interrupted):
        box.append("tags", values={"a": "1"})
    monkeypatch.undo()
    box.append("tags", values={"b": "2"})
    box.mark_delivered()
    assert [entry["values"] for entry in Outbox(tmp_path).pending()] == [{"b": "2"}]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from imagelab.tracking.outbox import Outbox

def largest_file(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
box = Outbox(Path(sys.argv[1]))
box.append("tags", values={"a": "1"})
largest_file(box.size + 20)
try:
    box.append("tags", values={"b": "2"})
except OSError:
    print("refused", len(box.pending()))
largest_file(resource.RLIM_INFINITY)
box.append("tags", values={"c": "3"})
"""


def test_a_full_disk_tears_no_line_and_what_it_refused_is_saved_later(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "refused 2\n"  # delivered all the same
    assert [entry["values"] for entry in Outbox(tmp_path).pending()] == [{"a": "1"}, {"b": "2"}, {"c": "3"}]


def test_a_folder_that_is_gone_stops_neither_delivery_nor_later_entries(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "run")
    (tmp_path / "run").mkdir()
    box.append("tags", values={"a": "1"})
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(OSError):
        box.append("tags", values={"b": "2"})
    box.mark_delivered()
    assert [entry["values"] for entry in box.pending()] == [{"b": "2"}]


def test_an_unreadable_line_keeps_its_place(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    for number in range(3):
        box.append("tags", values={"number": str(number)})
    lines = box.path.read_text().splitlines()
    box.path.write_text("\n".join([lines[0], lines[1][:5] + lines[1], lines[2], ""]))
    Outbox(tmp_path).mark_delivered()
    assert [entry["kind"] for entry in Outbox(tmp_path).pending()] == ["damaged", "tags"]


@pytest.mark.parametrize("content", ["", "x", "99"])
def test_a_damaged_cursor_repeats_at_worst(tmp_path: Path, content: str) -> None:
    box = Outbox(tmp_path)
    box.append("tags", values={"a": "1"})
    box.cursor_path.write_text(content)
    assert len(Outbox(tmp_path).pending()) == (0 if content == "99" else 1)


def test_last_finds_the_newest_of_a_kind(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    assert box.last("status") is None
    for status in ("KILLED", "FINISHED"):
        box.append("status", status=status, timestamp=0)
    assert (box.last("status") or {})["status"] == "FINISHED"


class Interrupting(threading.Condition):
    """Its lock is taken in the very moment of a Ctrl-C."""

    def __enter__(self) -> bool:
        taken = super().__enter__()
        signal.raise_signal(signal.SIGINT)
        return taken


def test_an_interruption_leaves_the_lock_free(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.changed = Interrupting()
    with interruptible(), pytest.raises(Interrupted):
        outbox.append("tags", values={"a": "b"})
    with ThreadPoolExecutor(1) as other:
        assert other.submit(outbox.changed.acquire, timeout=1).result()
        other.submit(outbox.changed.release).result()
    assert [entry["kind"] for entry in Outbox(tmp_path).entries] == ["tags"]
