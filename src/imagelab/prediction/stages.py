"""What Spark's processes do before and after the model answers: read images, and keep finished shards."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from imagelab.prediction.job import Job
from imagelab.prediction.parts import reason_of
from imagelab.prediction.source import Content, Reader, UnreadableError, read_content

READ = "row long, image {}, error string"  # what `read_images` yields, in the words of Spark
KEPT = "shard long, trouble string"  # what `keep_shards` yields


def read_images(job: Job, numbers: Sequence[int], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The images of some shards; those that an earlier attempt has finished are left out."""
    wanted = [numbers[place] for batch in batches for place in batch.column("id").to_pylist()]
    finished = job.parts.finished()
    kind = pa.string() if job.source.is_text else pa.binary()
    for chunk in job.chunks(number for number in wanted if number not in finished):
        rows = range(chunk.first, chunk.first + len(chunk.contents))
        images, errors = zip(*map(read_or_tell, chunk.contents), strict=True)
        columns = [pa.array(rows, pa.int64()), pa.array(images, kind), pa.array(errors, pa.string())]
        yield pa.RecordBatch.from_arrays(columns, ["row", "image", "error"])


def read_or_tell(content: Content) -> tuple[bytes | str | None, str | None]:
    """The image, or why it cannot be read."""
    try:
        return read_content(content), None
    except UnreadableError as error:
        return None, str(error)


def keep_shards(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Write each shard as soon as all its rows are here; tell which ones, or why that is not possible."""
    reader = Reader(job.source, job.shard_rows, with_images=False)
    held: list[pa.RecordBatch] = []
    for batch in whole_rows(job, batches):
        held.append(batch)
        first, stop = held[0].column("row")[0].as_py(), batch.column("row")[-1].as_py() + 1
        number = first // job.shard_rows
        if stop == job.rows_of(number)[1]:
            carried = job.source.carried(reader.read(first, stop), first)
            trouble = keep(job, number, carried, pa.Table.from_batches(held))
            yield pa.RecordBatch.from_pydict(
                {"shard": pa.array([number], pa.int64()), "trouble": pa.array([trouble], pa.string())}
            )
            if trouble:
                return
            held = []


def whole_rows(job: Job, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, in batches that do not reach into the next shard."""
    for batch in batches:
        rest = batch
        while rest.num_rows:
            first = rest.column("row")[0].as_py()
            part = rest.slice(0, job.rows_of(first // job.shard_rows)[1] - first)
            yield part
            rest = rest.slice(part.num_rows)


def keep(job: Job, number: int, carried: pa.Table, answered: pa.Table) -> str | None:
    """Write one shard; the reason if that is not possible."""
    answer = answered.column("answer").combine_chunks()
    reported = pa.Table.from_arrays(answer.flatten(), [each.name for each in answer.type])
    known, told = answered.column("error").to_pylist(), reported.column("error").to_pylist()
    errors = [first or second or None for first, second in zip(known, told, strict=True)]
    good = pa.array([error is None for error in errors])
    answers = reported.filter(good).select(job.answer_schema.names).cast(job.answer_schema)
    try:
        job.parts.save(number, job.rows(carried, answers, errors))
    except OSError as error:
        return reason_of(error)
    return None
