"""The images below a folder, in the order of their names, written down as rows of a Parquet file."""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imagelab.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
SCHEMA = pa.schema({"path": pa.string(), "file": pa.binary()})  # the name to show, and the very name
AT_ONCE = 10_000  # rows
Inode = tuple[int, int]


def files_below(folder: Path, suffixes: Collection[str], without: Collection[Path]) -> Iterator[os.DirEntry[str]]:
    """Files with such endings, but hidden ones and those in `without`; links are followed, but not in a circle.

    Raises:
        DataError: a folder cannot be read.
    """
    skipped = {str(path) for path in without}
    for entry in walk(str(folder), (inode_of(folder.stat()),), skipped):
        if entry.name.lower().endswith(tuple(suffixes)):
            yield entry


def walk(folder: str, above: tuple[Inode, ...], skipped: set[str]) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".") and entry.path not in skipped]
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read ({error.strerror})") from error
    for entry in sorted(found, key=lambda entry: os.fsencode(entry.name)):
        if entry.is_dir():
            inode = inode_of(entry.stat())
            if inode not in above:
                yield from walk(entry.path, (*above, inode), skipped)
        elif entry.is_file() or not Path(entry.path).exists():  # a link to nowhere is an image that cannot be read
            yield entry


def inode_of(status: os.stat_result) -> Inode:
    return status.st_dev, status.st_ino


def write_listing(folder: Path, listing: Path, without: Collection[Path]) -> tuple[int, str]:
    """Write the names of all images below `folder` to `listing`; their number, and a digest of names, sizes and times.

    Raises:
        OSError: the listing cannot be written.
    """
    digest, count = hashlib.sha256(), 0
    with pq.ParquetWriter(listing, SCHEMA) as writer:
        for names in in_lots(described(files_below(folder, SUFFIXES, without), folder, digest)):
            shown = [name.decode("utf-8", "backslashreplace") for name in names]
            writer.write_table(pa.table({"path": shown, "file": names}, schema=SCHEMA))
            count += len(names)
    return count, digest.hexdigest()


def described(entries: Iterable[os.DirEntry[str]], folder: Path, digest: "hashlib._Hash") -> Iterator[bytes]:
    """The names of files below the folder; each is added to the digest."""
    for entry in entries:
        name = os.fsencode(os.path.relpath(entry.path, folder))
        digest.update(name + f"\0{state_of(Path(entry.path))}\n".encode())
        yield name


def state_of(path: Path) -> str:
    """Size and time of a file: what changes when it does."""
    try:
        status = path.stat()
    except OSError:  # a link to nowhere, or deleted in this moment
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def in_lots(names: Iterator[bytes]) -> Iterator[list[bytes]]:
    while lot := list(islice(names, AT_ONCE)):
        yield lot
