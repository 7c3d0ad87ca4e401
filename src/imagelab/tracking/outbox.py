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
        self.delivered = int(self.cursor_path.read_text()) if self.cursor_path.exists() else 0
        self.path.write_text("".join(f"{json.dumps(entry)}\n" for entry in self.entries))  # drops a torn last line

    def append(self, kind: str, **content: Any) -> None:
        """Put an entry at the end; on return it is on disk."""
        entry = {"kind": kind, **content}
        with self.changed, self.path.open("a") as file:
            file.write(f"{json.dumps(entry)}\n")
            file.flush()
            os.fsync(file.fileno())
            self.entries.append(entry)
            self.changed.notify_all()

    def pending(self) -> list[Entry]:
        """The entries that the store has not taken yet."""
        with self.changed:
            return self.entries[self.delivered :]

    def mark_delivered(self) -> None:
        """The store has taken the first pending entry. (Losing this mark repeats an entry, which is harmless.)"""
        with self.changed:
            self.delivered += 1
            self.cursor_path.write_text(str(self.delivered))
            self.changed.notify_all()

    def wait_for_change(self, seconds: float) -> None:
        with self.changed:
            self.changed.wait(seconds)

    def last(self, kind: str) -> Entry | None:
        """The newest entry of a kind."""
        return next((entry for entry in reversed(self.entries) if entry["kind"] == kind), None)


def read_lines(path: Path) -> list[Entry]:
    entries = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:  # the power failed while it was written
            break
    return entries
