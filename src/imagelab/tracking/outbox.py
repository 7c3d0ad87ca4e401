"""What a run has to say, in order, on disk: a line an entry, and how many of them the store has taken."""

import json
import os
import threading
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Outbox:
    """An append-only list of entries with a cursor; survives the process. Safe for several threads."""

    def __init__(self, folder: Path) -> None:
        self.path, self.cursor_path = folder / "outbox.jsonl", folder / "outbox.delivered"
        self.changed = threading.Condition()
        self.entries = read_lines(self.path)
        self.delivered = min(read_number(self.cursor_path), len(self.entries))

    def append(self, kind: str, **content: Any) -> None:
        """Put an entry at the end; on return it is on disk."""
        entry = {"kind": kind, **content}
        with self.changed, self.path.open("a") as file:
            try:
                file.write(f"{json.dumps(entry)}\n")
                file.flush()
            finally:  # an interruption may come here; the line is there all the same
                self.entries.append(entry)
                self.changed.notify_all()
            os.fsync(file.fileno())

    def pending(self) -> list[Entry]:
        """The entries that the store has not taken yet."""
        with self.changed:
            return self.entries[self.delivered :]

    def mark_delivered(self) -> None:
        """The store has taken the first pending entry. (Losing this mark repeats an entry, which is harmless.)"""
        with self.changed:
            self.delivered += 1
            part = self.cursor_path.with_name("part-delivered")
            part.write_text(str(self.delivered))
            part.replace(self.cursor_path)
            self.changed.notify_all()

    def wait_for_change(self, seconds: float) -> None:
        with self.changed:
            self.changed.wait(seconds)

    def last(self, kind: str) -> Entry | None:
        """The newest entry of a kind."""
        return next((entry for entry in reversed(self.entries) if entry["kind"] == kind), None)


def read_lines(path: Path) -> list[Entry]:
    """The entries of the file; a line torn by a power cut is cut off, so that the next one begins on its own."""
    content = path.read_bytes() if path.exists() else b""
    whole, newline, torn = content.rpartition(b"\n")
    if torn:
        os.truncate(path, len(whole) + len(newline))
    return [json.loads(line) for line in whole.splitlines()]


def read_number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not there yet, or cut off: everything is delivered again
        return 0
