"""The engine that is this process: threads decode images while the network computes those before."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from mlflow.exceptions import MlflowException

from imagelab.prediction.job import Chunk, Job
from imagelab.prediction.parquet_rows import Content, UnreadableError, read_content

Image = np.ndarray | str  # decoded, or the reason why it is not


def predict_here(job: Job, numbers: Sequence[int], model: Any, workers: int, advance: Callable[[int], None]) -> None:
    """Make these shards.

    Args:
        model: as served_model.py has it.
        workers: threads that decode.
        advance: called with the number of images that are done since the last call.
    """
    rows = []
    for chunk, images in decoded(job.chunks(numbers), model, workers):
        rows.append(answer(job, model, chunk, images))
        if is_last(job, chunk):
            with job.shards.writing():
                job.shards.save(chunk.first // job.shard_rows, pa.concat_tables(rows))
            rows = []
        advance(len(images))


def decoded(chunks: Iterable[Chunk], model: Any, workers: int) -> Iterator[tuple[Chunk, list[Image]]]:
    """Each chunk with its images; only a few chunks are in memory at a time."""
    under_way: deque[tuple[Chunk, Future[list[Image]]]] = deque()
    with pool_of(workers) as pool:
        for chunk in chunks:
            under_way.append((chunk._replace(contents=[]), pool.submit(decode, model, chunk.contents)))
            if len(under_way) > workers:
                first, images = under_way.popleft()
                yield first, images.result()
        for first, images in under_way:
            yield first, images.result()


@contextmanager
def pool_of(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are not waited for when something goes wrong."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="imagelab-decode")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def decode(model: Any, contents: Iterable[Content]) -> list[Image]:
    return [decode_one(model, content) for content in contents]


def decode_one(model: Any, content: Content) -> Image:
    try:
        image: np.ndarray = model.one(read_content(content))
        return image
    except MlflowException as error:
        return str(error.message)
    except UnreadableError as error:
        return str(error)


def answer(job: Job, model: Any, chunk: Chunk, images: Sequence[Image]) -> pa.Table:
    """Rows of the output for one chunk."""
    good = [image for image in images if not isinstance(image, str)]
    errors = [image if isinstance(image, str) else None for image in images]
    answers = job.answer_schema.empty_table()
    if good:
        frame = model.answer(model.probabilities(np.stack(good)), job.top_k)
        answers = pa.Table.from_pandas(frame, schema=job.answer_schema, preserve_index=False)
    return job.rows(chunk.carried, answers, errors)


def is_last(job: Job, chunk: Chunk) -> bool:
    """Whether the shard ends with this chunk."""
    return chunk.first + chunk.carried.num_rows == job.rows_of(chunk.first // job.shard_rows)[1]
