"""The engine that is this process: threads decode images while the network computes those before."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from imagelab.errors import RegistryError
from imagelab.prediction.job import Chunk, Job
from imagelab.prediction.source import Content, UnreadableError, read_content
from imagelab.quiet import start_keras
from imagelab.tracking import reason_of

Image = np.ndarray | str  # decoded, or the reason why it is not


def predict_here(job: Job, numbers: Sequence[int], path: Path, workers: int, update: Callable[[int], None]) -> None:
    """Make these shards.

    Args:
        path: the folder of the MLflow model.
        workers: threads that decode.
        update: is told how many images are done in all.
    """
    model = load_served_model(path)
    done, held = job.source.count - job.images_in(numbers), []
    for chunk, images in decoded(job.chunks(numbers), model, workers):
        held.append(answered(job, model, chunk, images))
        done += len(images)
        if is_last(job, chunk):
            with job.parts.writing():
                job.parts.save(chunk.first // job.shard_rows, pa.concat_tables(held))
            held = []
        update(done)


def load_served_model(path: Path) -> Any:
    """The model as served_model.py has it.

    Raises:
        RegistryError: it cannot be loaded.
    """
    start_keras()
    import mlflow.pyfunc

    try:
        return mlflow.pyfunc.load_model(str(path)).unwrap_python_model()
    except Exception as error:
        raise RegistryError(f"the model cannot be loaded ({reason_of(error)})") from error


def decoded(chunks: Iterable[Chunk], model: Any, workers: int) -> Iterator[tuple[Chunk, list[Image]]]:
    """Each chunk with its images; never more than some chunks are in memory."""
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
    from mlflow.exceptions import MlflowException

    try:
        image: np.ndarray = model.one(read_content(content))
        return image
    except MlflowException as error:
        return str(error.message)
    except UnreadableError as error:
        return str(error)


def answered(job: Job, model: Any, chunk: Chunk, images: Sequence[Image]) -> pa.Table:
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
