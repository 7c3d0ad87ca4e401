"""Finished shards on disk, and the one file that they become.

OUTPUT.parts/manifest.json   what the output depends on: a later command goes on only if that is the same
OUTPUT.parts/listing.parquet the names of the images below a folder
OUTPUT.parts/000012.parquet  the rows of shard 12: whole, or not there at all
OUTPUT.parts/lock            locked by the command that works on it
OUTPUT.parts/spark.log       Spark's log
"""

import csv
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from imagelab.atomic_files import replace_durably, write_durably
from imagelab.errors import PredictionError, one_line

OWN_FILES = r"part-.*|\d{6}\.parquet|manifest\.json|listing\.parquet|lock|spark\.log"
SHARDS_AT_ONCE = 32  # that become one row group of the output


@dataclass(frozen=True)
class ShardFolder:
    """The folder with the finished shards of an output that is not finished."""

    output: Path

    @property
    def folder(self) -> Path:
        return self.output.with_name(f"{self.output.name}.parts")

    @property
    def listing(self) -> Path:
        return self.folder / "listing.parquet"

    @property
    def spark_log(self) -> Path:
        return self.folder / "spark.log"

    @property
    def unreadable(self) -> Path:
        """The list of images that could not be read."""
        return self.output.with_name(f"{self.output.name}.unreadable.csv")

    def read_manifest(self) -> dict[str, Any] | None:
        """What was begun here; None where nothing was."""
        try:
            return dict(json.loads((self.folder / "manifest.json").read_text()))
        except (OSError, ValueError):
            return None

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        with self.writing():
            write_durably(self.folder / "manifest.json", json.dumps(manifest, indent=2))

    def finished(self) -> set[int]:
        """The numbers of the shards that are there."""
        with os.scandir(self.folder) as entries:
            return {int(entry.name[:6]) for entry in entries if entry.name[:6].isdigit()}

    def path_of(self, number: int) -> Path:
        return self.folder / f"{number:06}.parquet"

    def save(self, number: int, rows: pa.Table) -> None:
        """Write a shard.

        Raises:
            OSError: it cannot be written; nothing is left of it.
        """
        part = self.folder / f"part-{number:06}-{uuid.uuid4().hex[:8]}"  # two processes of Spark may try the same one
        try:
            pq.write_table(rows, part)
            replace_durably(part, self.path_of(number))
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def join(self, count: int, facts: Mapping[str, str]) -> int:
        """Make the output and the list of unreadable images of all shards; return how many could not be read.

        Args:
            count: the number of shards.
            facts: written into the output's metadata.
        """
        part, failures = self.folder / "part-joined", self.folder / "part-unreadable"
        unreadable = 0
        with self.writing():
            with failures.open("w", newline="", encoding="utf-8") as file:
                for table in joined(self.tables(count), part, facts):
                    failed = table.filter(pc.is_valid(table.column("error"))).select([0, table.num_columns - 1])
                    write_rows(file, failed, with_names=not unreadable)
                    unreadable += failed.num_rows
            if unreadable:
                replace_durably(failures, self.unreadable)
            else:
                self.unreadable.unlink(missing_ok=True)
            replace_durably(part, self.output)
        return unreadable

    def tables(self, count: int) -> Iterator[pa.Table]:
        """The rows of all shards, some shards at a time."""
        for first in range(0, count, SHARDS_AT_ONCE):
            numbers = range(first, min(first + SHARDS_AT_ONCE, count))
            yield pa.concat_tables([self.read(number) for number in numbers])

    def read(self, number: int) -> pa.Table:
        path = self.path_of(number)
        try:
            with pq.ParquetFile(path) as file:
                return file.read()
        except (pa.ArrowException, OSError) as error:
            raise PredictionError(
                f"{path} is damaged ({error}); delete it and type the same command again: only it is made anew"
            ) from error

    def remove_remains(self) -> None:
        """Delete what a killed command has left half-written.

        Raises:
            PredictionError: there is a file that no command has written, and that must not be deleted.
        """
        for path in self.folder.iterdir():
            if not re.fullmatch(OWN_FILES, path.name):
                raise PredictionError(f"{path} is in the way: {self.folder} is needed for finished shards; move it")
            if path.name.startswith("part-"):
                path.unlink()

    def clear(self) -> None:
        """Delete manifest and shards, under the same lock."""
        (self.folder / "manifest.json").unlink(missing_ok=True)
        for number in self.finished():
            self.path_of(number).unlink()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn an OSError into a PredictionError that says what to do."""
        try:
            yield
        except OSError as error:
            raise self.write_error(one_line(error)) from error

    def write_error(self, reason: str) -> PredictionError:
        finished = len(self.finished()) if self.folder.is_dir() else 0
        return PredictionError(
            f"{self.folder} cannot be written ({reason}); its {finished:,} finished shards stay. "
            "Make room and type the same command again: it goes on"
        )


def joined(tables: Iterator[pa.Table], path: Path, facts: Mapping[str, str]) -> Iterator[pa.Table]:
    """Write tables into one file, passing each one on."""
    first = next(tables)
    with pq.ParquetWriter(path, first.schema.with_metadata(dict(facts))) as writer:
        for table in chain([first], tables):
            writer.write_table(table.replace_schema_metadata(dict(facts)))
            yield table


def write_rows(file: Any, rows: pa.Table, with_names: bool) -> None:
    writer = csv.writer(file)
    if with_names:
        writer.writerow(rows.column_names)
    writer.writerows(zip(*(column.to_pylist() for column in rows.columns), strict=True))


@contextmanager
def being_written(shards: ShardFolder) -> Iterator[None]:
    """Lock the folder of shards against other commands; it is removed if nothing was begun in it.

    Raises:
        PredictionError: another command has locked it, or it cannot be made.
    """
    with shards.writing():
        shards.folder.mkdir(exist_ok=True)
        lock = FileLock(shards.folder / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise PredictionError(
            f"output={shards.output}: another command is writing it at this moment; wait for it or name another output"
        ) from None
    try:
        shards.remove_remains()
        try:
            yield
        finally:
            if shards.read_manifest() is None:
                shutil.rmtree(shards.folder, ignore_errors=True)
    finally:
        lock.release()
