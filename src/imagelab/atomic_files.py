"""Files written so that at any moment, even when the power fails, either the old or the new one is there."""

import os
from pathlib import Path


def write_durably(path: Path, text: str) -> None:
    part = path.with_name(f"part-{path.name}")
    part.write_text(text)
    replace_durably(part, path)


def replace_durably(part: Path, path: Path) -> None:
    """Move a finished file into place, once its content is on the disk."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
