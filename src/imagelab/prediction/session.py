"""The whole flow: what was begun, what is missing, the engine, and the one file at the end."""

import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imagelab.console import say
from imagelab.errors import Interrupted, PredictionError, SettingsError, TrackingError
from imagelab.prediction.job import Job
from imagelab.prediction.manifest import Manifest, begin, facts_of, is_asked_again, manifest_of
from imagelab.prediction.opening import open_source
from imagelab.prediction.parts import Parts, being_written
from imagelab.prediction.progress import PredictionProgress
from imagelab.prediction.registered import Registered, describe
from imagelab.registry.artifacts import fetched
from imagelab.registry.lookup import aliases_of, version_behind
from imagelab.settings import PredictSettings
from imagelab.tracking import note_in_wrapper, use_tracking_store

if TYPE_CHECKING:
    from imagelab.tracking import Client


def predict(settings: PredictSettings) -> str:
    """Classify all images and return the line that says what came out.

    Raises:
        SettingsError: nothing was done: a setting does not fit what there is.
        PredictionError: the output cannot be written, Spark failed, or no image at all could be read.
    """
    refuse_to_replace(settings)
    if settings.engine == "spark":
        from imagelab.prediction.spark import refuse_without_spark

        refuse_without_spark()
    client = use_tracking_store()
    parts = Parts(settings.output)
    with being_written(parts):
        begun = parts.read_manifest()
        registered = find_registered(client, settings, begun)
        note_in_wrapper(client, tags_of(registered))
        with parts.writing():
            source = open_source(settings.images_path, parts.listing, settings.output, parts.folder)
        manifest = manifest_of(settings, registered, source)
        if begun != manifest:
            begin(parts, begun, manifest, settings)
        job = Job(source, parts, manifest["top_k"], settings.batch_size, registered.has_superclass)
        images, seconds = work(job, settings, registered)
        unreadable = parts.join(job.shards, facts_of(manifest))
        shutil.rmtree(parts.folder, ignore_errors=True)
    measured = {"images": source.count, "unreadable": unreadable, "images_per_second": images / seconds}
    try:
        note_in_wrapper(client, {}, measured)
    except TrackingError as error:
        say(str(error))
    return conclusion(parts, source.count, unreadable, images, seconds)


def refuse_to_replace(settings: PredictSettings) -> None:
    if settings.output.exists() and not settings.overwrite:
        raise SettingsError(
            f"output={settings.output}: is there already; name another file, or replace it: overwrite=true"
        )


def find_registered(client: "Client", settings: PredictSettings, begun: Manifest | None) -> Registered:
    """The version that answers: the one with which the same command was begun, whatever the alias names now."""
    name = settings.registered_model
    if begun and is_asked_again(begun, settings):
        version = begun["version"]
        if not settings.version:
            say_if_moved(client, settings, version)
    else:
        version = str(settings.version or version_behind(client, name, settings.alias))
    registered = describe(client, name, version)
    if settings.engine == "spark" and not registered.can_report:
        raise SettingsError(
            f"engine=spark: {registered.title} was logged by an older imagelab, whose models give up at the first "
            "image that cannot be read; use engine=local"
        )
    if settings.top_k is not None and settings.top_k > registered.classes:
        raise SettingsError(f"top_k={settings.top_k}: {registered.title} knows {registered.classes} classes")
    return registered


def say_if_moved(client: "Client", settings: PredictSettings, version: str) -> None:
    now = aliases_of(client, settings.registered_model).get(settings.alias)
    if now != version:
        say(
            f"going on with version {version}, with which this was begun; {settings.alias} is now "
            f"{f'version {now}' if now else 'gone'} (to begin anew, delete {Parts(settings.output).folder})"
        )


def work(job: Job, settings: PredictSettings, registered: Registered) -> tuple[int, float]:
    """Make what is missing; how many images that were, and the seconds that it took."""
    missing = job.missing()
    images = job.images_in(missing)
    done = job.source.count - images
    say(f"{images:,} images for {registered.title}" + (f"; {done:,} are done already" if done else ""))
    started = time.perf_counter()
    if missing:
        with (
            telling_how_to_go_on(job),
            fetched(registered.uri, registered.digest) as model,
            PredictionProgress(job.source.count, done) as progress,
        ):
            run_engine(job, missing, settings, model, progress.update)
    return images, time.perf_counter() - started


@contextmanager
def telling_how_to_go_on(job: Job) -> Iterator[None]:
    try:
        yield
    except Interrupted:
        kept = job.images_in(job.parts.finished())
        say(f"\ninterrupted; {kept:,} of {job.source.count:,} images are done: the same command goes on")
        raise


def run_engine(
    job: Job, missing: Sequence[int], settings: PredictSettings, model: Path, update: Callable[[int], None]
) -> None:
    if settings.engine == "spark":
        from imagelab.prediction.spark import predict_on_spark

        predict_on_spark(job, missing, model, settings.master, update)
    else:
        from imagelab.prediction.local import predict_here

        predict_here(job, missing, model, settings.workers or len(os.sched_getaffinity(0)), update)


def tags_of(registered: Registered) -> dict[str, str]:
    tags = {"phase": "prediction", "registered_model": registered.name, "version": registered.version}
    return {**tags, "mlflow.runName": f"prediction by {registered.title}"}


def conclusion(parts: Parts, count: int, unreadable: int, images: int, seconds: float) -> str:
    """What came out, and what to type next.

    Raises:
        PredictionError: not one image could be read.
    """
    if unreadable == count:
        raise PredictionError(f"none of the {count:,} images could be read; {parts.unreadable} says why")
    failed = f", {unreadable:,} unreadable (listed in {parts.unreadable})" if unreadable else ""
    now = "" if images == count else f", {images:,} of them now"
    look = f"import pandas; print(pandas.read_parquet({str(parts.output)!r}))"
    return (
        f"{count:,} images{failed}{now}, in {seconds:.1f} s ({images / seconds:,.0f} images/s): {parts.output}\n"
        f"look at it: python -c {shlex.quote(look)}"
    )
