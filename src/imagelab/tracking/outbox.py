"""What a run has to say, in order, on disk: a line an entry, and how many of them the store has taken."""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from imagelab.signals import uninterrupted

Entry = dict[str, Any]


class Outbox:
    """An append-only list of entries with a cursor; survives the process. Safe for several threads.

    An interruption waits while the lock is held: raised as it is taken, it would never be given back.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self.cursor_path = folder / "outbox.jsonl", folder / "outbox.delivered"
        self.changed = threading.Condition()
        self.entries, self.size = read_lines(self.path)
        self.saved = len(self.entries)
        self.delivered = min(read_number(self.cursor_path), len(self.entries))

    def append(self, kind: str, **content: Any) -> None:
        """Put an entry at the end; on return it is on disk.

        Raises:
            OSError: the disk does not take it. It is delivered all the same, and saved with the next entry.
        """
        with uninterrupted(), self.changed:
            self.entries.append({"kind": kind, **content})
            self.changed.notify_all()
            self.save()

    def save(self) -> None:
        """Write what is not on disk yet, behind what is known to be: half a line, left by a failure, is overwritten."""
        count = len(self.entries)
        lines = "".join(f"{json.dumps(entry)}\n" for entry in self.entries[self.saved :]).encode()
        with self.path.open("r+b" if self.size else "wb") as file:
            file.seek(self.size)
            file.write(lines)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self.saved, self.size = count, self.size + len(lines)

    def pending(self) -> list[Entry]:
        """The entries that the store has not taken yet."""
        with uninterrupted(), self.changed:
            return self.entries[self.delivered :]

    def mark_delivered(self) -> None:
        """The store has taken the first pending entry. (Losing this mark repeats an entry, which is harmless.)"""
        with self.changed:
            self.delivered += 1
            with suppress(OSError):
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


def read_lines(path: Path) -> tuple[list[Entry], int]:
    """The entries of the file, and the bytes that they take: a torn line at the end, as a power cut leaves, is none."""
    content = path.read_bytes() if path.exists() else b""
    whole, newline, _ = content.rpartition(b"\n")
    lines = whole.splitlines()
    return [read_line(line, number) for number, line in enumerate(lines, 1)], len(whole) + len(newline)


def read_line(line: bytes, number: int) -> Entry:
    """One entry; a line that a damaged disk has made unreadable keeps its place, since the cursor counts them."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    return entry if isinstance(entry, dict) and "kind" in entry else {"kind": "damaged", "line": number}


def read_number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not there yet, or cut off: everything is delivered again
        return 0
