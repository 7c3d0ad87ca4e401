"""The images to classify as rows of Parquet files, read in order and never all at once.

The images below a folder are such rows, too: those of a Parquet file that lists them.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagelab.errors import DataError, one_line

IMAGE = "image"
LISTED = "file"  # the column that names the images, in a list of those below a folder
RESERVED_COLUMNS = ("row", "label", "probability", "superclass", "top", "error")  # the output's own
BYTES_AT_ONCE = 2**26  # of images that are read together
LARGEST_FILE = 2**28  # bytes of one image
Content = bytes | str | Path | None


class UnreadableError(Exception):
    """One image cannot be read; the message says why."""


class RowGroup(NamedTuple):
    """A row group of a Parquet file.

    Attributes:
        number: counted in that file.
        first: number of its first row, counted over all files.
    """

    path: str
    number: int
    first: int
    rows: int


@dataclass(frozen=True)
class Source:
    """All rows that are to be classified.

    Attributes:
        groups: where they are, in order.
        digest: changes when they do.
        folder: of the files that the rows name; None where the rows hold the images.
        others: the columns besides the images, as the files have them.
        is_text: whether the images are base64 text.
        bytes_a_row: size of an image in a Parquet file, on average.
    """

    groups: tuple[RowGroup, ...]
    digest: str
    folder: Path | None = None
    others: pa.Schema = field(default_factory=lambda: pa.schema({}))
    is_text: bool = False
    bytes_a_row: float = 0

    @property
    def count(self) -> int:
        return self.groups[-1].first + self.groups[-1].rows if self.groups else 0

    @property
    def image_column(self) -> str:
        return LISTED if self.folder else IMAGE

    @property
    def carried_schema(self) -> pa.Schema:
        """The columns of the output that say which image a row is about."""
        if self.folder:
            return self.others
        names = list(RESERVED_COLUMNS)
        for other in self.others:
            names.append(free_name(other.name, names))
        renamed = [
            other.with_name(name) for other, name in zip(self.others, names[len(RESERVED_COLUMNS) :], strict=True)
        ]
        return pa.schema([pa.field("row", pa.int64()), *renamed])

    def rows_at_once(self, batch_size: int) -> int:
        """How many rows to read at once: `batch_size`, fewer where the images are large."""
        return max(1, min(batch_size, int(BYTES_AT_ONCE / max(self.bytes_a_row, 1))))

    def carried(self, rows: pa.Table, first: int) -> pa.Table:
        """The columns of these rows that the output has, too; `first` is the number of the first row."""
        columns = [rows.column(other.name) for other in self.others]
        if not self.folder:
            columns.insert(0, pa.chunked_array([pa.array(range(first, first + rows.num_rows), pa.int64())]))
        return pa.Table.from_arrays(columns, schema=self.carried_schema)

    def contents(self, rows: pa.Table) -> list[Content]:
        """The images of these rows: bytes, text, or the path of a file."""
        column = rows.column(self.image_column)
        if self.folder:
            return [self.folder / os.fsdecode(name) for name in column.to_pylist()]
        if pa.types.is_struct(column.type):
            column = pc.struct_field(column, "bytes")
        return column.to_pylist()

    def batches(self, first: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The rows from number `first` on, some at a time."""
        left = [group for group in self.groups if group.first + group.rows > first]
        for path, groups in groupby(left, lambda group: group.path):
            wanted = list(groups)
            skip = max(first - wanted[0].first, 0)
            # Not buffered ahead: a row group may hold all of the images, and would be in memory as a whole.
            with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
                numbers = [group.number for group in wanted]
                for batch in file.iter_batches(rows, row_groups=numbers, columns=list(columns), use_threads=False):
                    if skip < batch.num_rows:
                        yield batch.slice(skip)
                    skip = max(skip - batch.num_rows, 0)


class Reader:
    """Reads ranges of rows; a range that follows the last one is read without opening the files again.

    Args:
        with_images: whether the column of images is read, too.
    """

    def __init__(self, source: Source, rows_at_once: int, with_images: bool = True) -> None:
        self.source, self.rows_at_once = source, rows_at_once
        self.columns = source.others.names + [source.image_column] * with_images
        self.position = -1
        self.stream: Iterator[pa.RecordBatch] = iter(())
        self.rest: list[pa.RecordBatch] = []

    def read(self, first: int, stop: int) -> pa.Table:
        """The rows from `first` to before `stop`.

        Raises:
            DataError: a Parquet file is damaged, gone or shorter than it was.
        """
        if not self.columns:
            return pa.table({"": pa.nulls(stop - first)})
        try:
            return self.take(first, stop)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"the images cannot be read any more ({one_line(error)})") from error

    def take(self, first: int, stop: int) -> pa.Table:
        if first != self.position:
            self.stream, self.rest = self.source.batches(first, self.columns, self.rows_at_once), []
        taken, missing = [], stop - first
        while missing:
            batch = self.rest.pop() if self.rest else next(self.stream, None)
            if batch is None:
                raise DataError(f"the images end at row {stop - missing:,}, where there were {self.source.count:,}")
            taken.append(batch.slice(0, missing))
            if batch.num_rows > missing:
                self.rest = [batch.slice(missing)]
            missing -= taken[-1].num_rows
        self.position = stop
        return pa.Table.from_batches(taken)


def read_content(content: Content) -> bytes | str:
    """The bytes of an image, or its base64 text.

    Raises:
        UnreadableError: there is none, or its file cannot be read.
    """
    if content is None:
        raise UnreadableError("there is no image in this row")
    if not isinstance(content, Path):
        return content
    try:
        if (size := content.stat().st_size) > LARGEST_FILE:
            raise UnreadableError(f"the file has {size:,} bytes, more than {LARGEST_FILE:,}")
        return content.read_bytes()
    except OSError as error:
        raise UnreadableError(f"the file cannot be read ({error.strerror})") from None


def free_name(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = f"input_{name}"
    return name
