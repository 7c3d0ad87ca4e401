"""A model's files: fetched from where MLflow keeps them, there and undamaged."""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model

from imagelab.errors import RegistryError
from imagelab.tracking import reason_of

DIGEST = "artifacts_digest"  # tag of a version: `digest_of` its files when it was registered
WRITTEN_LATER = ("registered_model_meta", "__pycache__")  # by MLflow when it fetches, and by Python when it loads


@contextmanager
def fetched(uri: str, digest: str | None = None) -> Iterator[Path]:
    """A copy of the files of `models:/NAME/VERSION` or `models:/MODEL_ID`, removed at the end.

    Args:
        digest: of `digest_of`, when they were registered; None: not known.

    Raises:
        RegistryError: they are missing or damaged.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tempfile.TemporaryDirectory(prefix="imagelab-") as folder:
        try:
            path = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
        except Exception as error:
            raise RegistryError(f"{uri}: its files cannot be fetched ({reason_of(error)})") from error
        check(path, uri, digest)
        yield path


def fetched_version(version: ModelVersion) -> AbstractContextManager[Path]:
    """The same for a version, whose files must be those that were registered."""
    return fetched(uri_of(version), version.tags.get(DIGEST))


def uri_of(version: ModelVersion) -> str:
    return f"models:/{version.name}/{version.version}"


def check(path: Path, uri: str, digest: str | None) -> None:
    if not (path / "MLmodel").is_file():
        raise RegistryError(f"{uri}: its files are missing (there is no MLmodel among them)")
    if missing := missing_data(path, uri):
        raise RegistryError(f"{uri}: its files are missing (there is nothing in {missing})")
    if digest is not None and digest_of(path) != digest:
        raise RegistryError(f"{uri}: its files are damaged (they are not those that were registered)")
    check_archives(path, uri)


def missing_data(path: Path, uri: str) -> str | None:
    """A file or folder that MLmodel names, but that is not there."""
    try:
        named = [flavor.get("data") for flavor in Model.load(str(path / "MLmodel")).flavors.values()]
    except Exception as error:
        raise RegistryError(f"{uri}: MLmodel is damaged ({reason_of(error)})") from error
    empty = (name for name in named if name and not any(file.is_file() for file in (path / name).rglob("*")))
    return next(empty, None)


def check_archives(path: Path, uri: str) -> None:
    """Read all of each network and compare its checksums: Keras would load a weight with a wrong bit."""
    for archive in path.rglob("*.keras"):
        try:
            with zipfile.ZipFile(archive) as content:
                wrong = content.testzip()
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise RegistryError(f"{uri}: {archive.name} is damaged ({reason_of(error)})") from error
        if wrong:
            raise RegistryError(f"{uri}: {archive.name} is damaged (the checksum of {wrong} is wrong)")


def digest_of(path: Path) -> str:
    """SHA-256 over names and contents of a model's files."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.is_file() and not set(WRITTEN_LATER) & set(name.parts):
            with file.open("rb") as content:
                digest.update(f"{name.as_posix()}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def megabytes(path: Path) -> float:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
