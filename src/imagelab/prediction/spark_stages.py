"""What Spark's processes do before and after the model: read images, and write finished shards."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from imagelab.errors import one_line
from imagelab.prediction.job import Job
from imagelab.prediction.parquet_rows import Content, Reader, UnreadableError, read_content

READ = "row long, image {}, error string"  # what `read_images` yields, as Spark names types
WRITTEN = "shard long, error string"  # what `write_shards` yields


def read_images(job: Job, numbers: Sequence[int], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The images of some shards; those that an earlier attempt has finished are left out."""
    wanted = [numbers[place] for batch in batches for place in batch.column("id").to_pylist()]
    finished = job.shards.finished()
    kind = pa.string() if job.source.is_text else pa.binary()
    for chunk in job.chunks(number for number in wanted if number not in finished):
        rows = range(chunk.first, chunk.first + len(chunk.contents))
        images, errors = zip(*map(image_or_error, chunk.contents), strict=True)
        columns = [pa.array(rows, pa.int64()), pa.array(images, kind), pa.array(errors, pa.string())]
        yield pa.RecordBatch.from_arrays(columns, ["row", "image", "error"])


def image_or_error(content: Content) -> tuple[bytes | str | None, str | None]:
    """The image, or why it cannot be read."""
    try:
        return read_content(content), None
    except UnreadableError as error:
        return None, str(error)


def write_shards(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Write each shard as soon as all its rows are here; yield which ones, and the reason if one cannot be written."""
    reader = Reader(job.source, job.shard_rows, with_images=False)
    waiting: list[pa.RecordBatch] = []
    for batch in split_at_shards(job, batches):
        waiting.append(batch)
        first, stop = waiting[0].column("row")[0].as_py(), batch.column("row")[-1].as_py() + 1
        number = first // job.shard_rows
        if stop == job.rows_of(number)[1]:
            carried = job.source.carried(reader.read(first, stop), first)
            error = write(job, number, carried, pa.Table.from_batches(waiting))
            yield pa.RecordBatch.from_pydict(
                {"shard": pa.array([number], pa.int64()), "error": pa.array([error], pa.string())}
            )
            if error:
                return
            waiting = []


def split_at_shards(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, in batches that do not reach into the next shard."""
    for batch in batches:
        rest = batch
        while rest.num_rows:
            first = rest.column("row")[0].as_py()
            part = rest.slice(0, job.rows_of(first // job.shard_rows)[1] - first)
            yield part
            rest = rest.slice(part.num_rows)


def write(job: Job, number: int, carried: pa.Table, answered: pa.Table) -> str | None:
    """Write one shard; return the reason if that is not possible."""
    answer = answered.column("answer").combine_chunks()
    reported = pa.Table.from_arrays(answer.flatten(), [each.name for each in answer.type])
    known, reported_errors = answered.column("error").to_pylist(), reported.column("error").to_pylist()
    errors = [first or second or None for first, second in zip(known, reported_errors, strict=True)]
    good = pa.array([error is None for error in errors])
    answers = reported.filter(good).select(job.answer_schema.names).cast(job.answer_schema)
    try:
        job.shards.save(number, job.rows(carried, answers, errors))
    except OSError as error:
        return one_line(error)
    return None
