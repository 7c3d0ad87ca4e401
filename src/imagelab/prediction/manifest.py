"""What an output depends on: its manifest, written when it is begun, so that only the same command goes on with it."""

from typing import Any

from imagelab.errors import SettingsError
from imagelab.prediction.job import SHARD_ROWS
from imagelab.prediction.model_version import VersionInfo
from imagelab.prediction.parquet_rows import Source
from imagelab.prediction.shards import ShardFolder
from imagelab.settings import PredictSettings

FORMAT = 1  # to be raised when shards are made in another way
Manifest = dict[str, Any]


def wanted_version(settings: PredictSettings) -> str:
    """Which version is wanted, as the user named it."""
    return f"version {settings.version}" if settings.version else f"alias {settings.alias}"


def is_same_version_wanted(begun: Manifest, settings: PredictSettings) -> bool:
    """Whether the version is named as when the output was begun."""
    return (begun.get("registered_model"), begun.get("asked")) == (settings.registered_model, wanted_version(settings))


def manifest_of(settings: PredictSettings, version: VersionInfo, source: Source) -> Manifest:
    """Everything that the rows of the output depend on, but for the last digits of probabilities (batch_size)."""
    return {
        "images": str(settings.images_path),
        "digest": source.digest,
        "count": source.count,
        "registered_model": version.registered.name,
        "asked": wanted_version(settings),
        "version": str(version.registered.version),
        "model_id": version.model_id,
        "run_id": version.run_id,
        "top_k": settings.top_k or min(5, version.classes),
        "shard_rows": SHARD_ROWS,
        "format": FORMAT,
    }


def begin(shards: ShardFolder, begun: Manifest | None, manifest: Manifest, settings: PredictSettings) -> None:
    """Begin a new output.

    Args:
        begun: what finished shards there belong to; None: there are none.

    Raises:
        SettingsError: there are shards of other images or another model, which must not be lost by mistake.
    """
    if begun is not None and not settings.overwrite:
        what = [f"{key}={begun.get(key)} (now {manifest[key]})" for key in manifest if begun.get(key) != manifest[key]]
        raise SettingsError(
            f"output={settings.output}: another prediction was begun there and is unfinished, with {'; '.join(what)}. "
            "Type its command again to go on with it, or begin anew: overwrite=true"
        )
    with shards.writing():
        shards.clear()
    shards.write_manifest(manifest)


def facts_of(manifest: Manifest) -> dict[str, str]:
    """What the output's metadata says."""
    shown = ("registered_model", "version", "model_id", "run_id", "images", "top_k")
    return {f"imagelab.{key}": str(manifest[key]) for key in shown}
