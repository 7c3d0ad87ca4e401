"""What an output depends on, written down when it is begun, so that only the same command goes on with it."""

from typing import Any

from imagelab.errors import SettingsError
from imagelab.prediction.job import SHARD_ROWS
from imagelab.prediction.parts import Parts
from imagelab.prediction.registered import Registered
from imagelab.prediction.source import Source
from imagelab.settings import PredictSettings

FORMAT = 1  # to be raised when shards are made in another way
Manifest = dict[str, Any]


def asked_for(settings: PredictSettings) -> str:
    """Which version was asked for, in the words of the user."""
    return f"version {settings.version}" if settings.version else f"alias {settings.alias}"


def is_asked_again(begun: Manifest, settings: PredictSettings) -> bool:
    """Whether the model is named as when the output was begun."""
    return (begun.get("registered_model"), begun.get("asked")) == (settings.registered_model, asked_for(settings))


def manifest_of(settings: PredictSettings, registered: Registered, source: Source) -> Manifest:
    """All that the rows of the output depend on."""
    return {
        "images": str(settings.images_path),
        "digest": source.digest,
        "count": source.count,
        "registered_model": registered.name,
        "asked": asked_for(settings),
        "version": registered.version,
        "model_id": registered.model_id,
        "run_id": registered.run_id,
        "top_k": settings.top_k or min(5, registered.classes),
        "shard_rows": SHARD_ROWS,
        "format": FORMAT,
    }


def begin(parts: Parts, begun: Manifest | None, manifest: Manifest, settings: PredictSettings) -> None:
    """Begin a new output; shards of other images or another model must not be lost by mistake."""
    if begun is not None and parts.finished() and not settings.overwrite:
        what = [f"{key}={begun.get(key)} (now {manifest[key]})" for key in manifest if begun.get(key) != manifest[key]]
        raise SettingsError(
            f"output={settings.output}: another prediction was begun there and is unfinished, with {'; '.join(what)}. "
            "Type its command again to go on with it, or begin anew: overwrite=true"
        )
    with parts.writing():
        parts.clear()
    parts.write_manifest(manifest)


def facts_of(manifest: Manifest) -> dict[str, str]:
    """What stands in the output's metadata."""
    kept = ("registered_model", "version", "model_id", "run_id", "images", "top_k")
    return {f"imagelab.{key}": str(manifest[key]) for key in kept}
