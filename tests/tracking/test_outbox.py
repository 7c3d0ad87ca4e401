from pathlib import Path

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


def test_last_finds_the_newest_of_a_kind(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    assert box.last("status") is None
    for status in ("KILLED", "FINISHED"):
        box.append("status", status=status, timestamp=0)
    assert (box.last("status") or {})["status"] == "FINISHED"
