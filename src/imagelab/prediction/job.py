"""What both engines share: which rows a shard has, what is read for them, and what is written."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from imagelab.prediction.parquet_rows import Content, Reader, Source
from imagelab.prediction.shards import ShardFolder

SHARD_ROWS = 1000
NAMED = pa.struct({"label": pa.string(), "probability": pa.float64()})


class Chunk(NamedTuple):
    """Images of one shard that go through the network together.

    Attributes:
        first: the number of the first row.
        carried: the columns of the input that the output has, too.
    """

    first: int
    carried: pa.Table
    contents: list[Content]


@dataclass(frozen=True)
class Job:
    """Images to classify and the folder for their predictions; the same in every process that takes part."""

    source: Source
    shards: ShardFolder
    top_k: int
    batch_size: int
    has_superclass: bool
    shard_rows: int = SHARD_ROWS

    @property
    def shard_count(self) -> int:
        return -(-self.source.count // self.shard_rows)

    def missing(self) -> list[int]:
        finished = self.shards.finished()
        return [number for number in range(self.shard_count) if number not in finished]

    def rows_of(self, number: int) -> tuple[int, int]:
        """The first row of a shard, and the first one after it."""
        return number * self.shard_rows, min((number + 1) * self.shard_rows, self.source.count)

    def images_in(self, numbers: Iterable[int]) -> int:
        return sum(stop - first for first, stop in map(self.rows_of, numbers))

    @property
    def answer_schema(self) -> pa.Schema:
        """The columns that the model fills."""
        superclass = [("superclass", pa.string())] if self.has_superclass else []
        named = [("label", pa.string()), ("probability", pa.float64()), *superclass]
        return pa.schema([*named, ("top", pa.list_(NAMED))])

    @property
    def schema(self) -> pa.Schema:
        """All columns of the output."""
        return pa.schema([*self.source.carried_schema, *self.answer_schema, pa.field("error", pa.string())])

    def chunks(self, numbers: Iterable[int]) -> Iterator[Chunk]:
        """Shards, read a batch at a time; no batch reaches into the next shard."""
        size = self.source.rows_at_once(self.batch_size)
        reader = Reader(self.source, size)
        for number in numbers:
            start, end = self.rows_of(number)
            for first in range(start, end, size):
                rows = reader.read(first, min(first + size, end))
                yield Chunk(first, self.source.carried(rows, first), self.source.contents(rows))

    def rows(self, carried: pa.Table, answers: pa.Table, errors: Sequence[str | None]) -> pa.Table:
        """Rows of the output.

        Args:
            carried: of all images.
            answers: of the images that have no error, in order.
            errors: of all images.
        """
        places = iter(range(answers.num_rows))
        filled = answers.combine_chunks().take(pa.array([None if e else next(places) for e in errors], pa.int64()))
        columns: list[Any] = [*carried.columns, *filled.columns, pa.array(errors, pa.string())]
        return pa.Table.from_arrays(columns, schema=self.schema)
