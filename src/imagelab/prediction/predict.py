"""The command `predict`: what was begun, what is missing, the engine, and the one file at the end."""

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imagelab.console import say
from imagelab.errors import Interrupted, PredictionError, SettingsError, TrackingError
from imagelab.prediction.inputs import open_source
from imagelab.prediction.job import Job
from imagelab.prediction.local_engine import predict_here
from imagelab.prediction.manifest import Manifest, begin, facts_of, is_same_version_wanted, manifest_of
from imagelab.prediction.model_version import VersionInfo, describe
from imagelab.prediction.shards import ShardFolder, being_written
from imagelab.prediction.spark_engine import predict_on_spark, refuse_without_spark
from imagelab.processor import usable_cores
from imagelab.progress import images_progress
from imagelab.registry.loaded_model import load_model
from imagelab.registry.lookup import Lookup
from imagelab.registry.model_files import fetched_version, uri_of
from imagelab.settings import PredictSettings
from imagelab.tracking import annotate_project_run, use_tracking_store

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
        refuse_without_spark()
    client = use_tracking_store()
    shards = ShardFolder(settings.output)
    with being_written(shards):
        begun = shards.read_manifest() if shards.finished() else None
        version = find_version_info(client, settings, begun)
        annotate_project_run(client, tags_of(version))
        with shards.writing():
            source = open_source(settings.images_path, shards.listing, settings.output, shards.folder)
        manifest = manifest_of(settings, version, source)
        if begun != manifest:
            begin(shards, begun, manifest, settings)
        job = Job(source, shards, manifest["top_k"], settings.batch_size, version.has_superclass)
        images, seconds = work(job, settings, version)
        unreadable = shards.join(job.shard_count, facts_of(manifest))
        shutil.rmtree(shards.folder, ignore_errors=True)
    measured = {"images": source.count, "unreadable": unreadable, "images_per_second": images / seconds}
    try:
        annotate_project_run(client, {}, measured)
    except TrackingError as error:
        say(str(error))
    return conclusion(shards, source.count, unreadable, images, seconds)


def refuse_to_replace(settings: PredictSettings) -> None:
    if settings.output.exists() and not settings.overwrite:
        raise SettingsError(
            f"output={settings.output}: is there already; name another file, or replace it: overwrite=true"
        )


def find_version_info(client: "Client", settings: PredictSettings, begun: Manifest | None) -> VersionInfo:
    """The version that predicts: the one with which the same command was begun, whatever the alias names now."""
    lookup = Lookup(client, settings.registered_model, "predict")
    if begun and is_same_version_wanted(begun, settings):
        found = lookup.version(begun["version"])
        if not settings.version:
            say_if_moved(lookup.aliases().get(settings.alias), settings, begun["version"])
    elif settings.version:
        found = lookup.version(str(settings.version))
    else:
        found = lookup.version_behind(settings.alias, hint="; or name a version: -P version=N")
    version = describe(found)
    if settings.engine == "spark" and not version.can_report:
        raise SettingsError(
            f"engine=spark: {version.title} was logged by an older imagelab, whose models stop at the first image that "
            "cannot be read; use engine=local"
        )
    if settings.top_k is not None and settings.top_k > version.classes:
        raise SettingsError(f"top_k={settings.top_k}: {version.title} knows {version.classes} classes")
    return version


def say_if_moved(now: str | None, settings: PredictSettings, version: str) -> None:
    """Say that the alias names another version `now` than the one with which this was begun."""
    if now != version:
        say(
            f"going on with version {version}, with which this was begun; {settings.alias} is now "
            f"{f'version {now}' if now else 'gone'} (to begin anew, delete {ShardFolder(settings.output).folder})"
        )


def work(job: Job, settings: PredictSettings, version: VersionInfo) -> tuple[int, float]:
    """Make the missing shards; return how many images they have, and the seconds that it took."""
    missing = job.missing()
    images = job.images_in(missing)
    done = job.source.count - images
    say(f"{images:,} images for {version.title}" + (f"; {done:,} are done already" if done else ""))
    started = time.perf_counter()
    if missing:
        with telling_how_to_go_on(job), images_progress(job.source.count, "predict", done) as advance:
            run_engine(job, missing, settings, version, advance)
    return images, time.perf_counter() - started


@contextmanager
def telling_how_to_go_on(job: Job) -> Iterator[None]:
    try:
        yield
    except Interrupted:
        done = job.images_in(job.shards.finished())
        say(f"\ninterrupted; {done:,} of {job.source.count:,} images are done: the same command goes on")
        raise


def run_engine(
    job: Job, missing: Sequence[int], settings: PredictSettings, version: VersionInfo, advance: Callable[[int], None]
) -> None:
    """Make the missing shards; `advance` is called with the number of images that are done since its last call."""
    with fetched_version(version.registered) as path:
        if settings.engine == "spark":
            predict_on_spark(job, missing, path, settings.master, advance)
        else:
            model = load_model(path, uri_of(version.registered))
            predict_here(job, missing, model.served, settings.workers or usable_cores(), advance)


def tags_of(version: VersionInfo) -> dict[str, str]:
    registered = version.registered
    tags = {
        "role": "prediction",
        "phase": "prediction",
        "registered_model": registered.name,
        "version": str(registered.version),
    }
    return {**tags, "mlflow.runName": f"prediction by {version.title}"}


def conclusion(shards: ShardFolder, count: int, unreadable: int, images: int, seconds: float) -> str:
    """What came out, and what to type next.

    Raises:
        PredictionError: not one image could be read.
    """
    if unreadable == count:
        raise PredictionError(f"none of the {count:,} images could be read; {shards.unreadable} says why")
    failed = f", {unreadable:,} unreadable (listed in {shards.unreadable})" if unreadable else ""
    now = "" if images == count else f", {images:,} of them now"
    speed = f" ({images / seconds:,.0f} images/s)" if images > seconds else ""  # of a few, loading the model is all
    look = f"import pandas; print(pandas.read_parquet({json.dumps(str(shards.output))}).head(20).to_string())"
    return (
        f"{count:,} images{failed}{now}, in {seconds:.1f} s{speed}: {shards.output}\n"
        f"look at it: python -c {shlex.quote(look)}"
    )
