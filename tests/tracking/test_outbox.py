from pathlib import Path

import pytest

from imagelab.errors import Interrupted
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
