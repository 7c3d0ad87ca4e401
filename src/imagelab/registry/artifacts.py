"""A model's files, as the registry hands them out: there, undamaged, and able to answer."""

import hashlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagelab.errors import RegistryError
from imagelab.quiet import start_keras
from imagelab.tracking import reason_of

NOT_OURS = ("registered_model_meta", "__pycache__")  # written by MLflow when it fetches, and by Python when it loads


@contextmanager
def fetched(uri: str, digest: str | None = None) -> Iterator[Path]:
    """A copy of the files of `models:/NAME/VERSION` or `models:/MODEL_ID`, removed at the end.

    Args:
        digest: what `digest_of` has said of them before.

    Raises:
        RegistryError: they are missing or damaged.
    """
    import mlflow

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tempfile.TemporaryDirectory(prefix="imagelab-") as folder:
        try:
            path = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
        except Exception as error:
            raise RegistryError(f"{uri}: its files cannot be fetched ({reason_of(error)})") from error
        check(path, uri, digest)
        yield path


def check(path: Path, uri: str, digest: str | None) -> None:
    if not (path / "MLmodel").is_file():
        raise RegistryError(f"{uri}: its files are missing (there is no MLmodel among them)")
    if digest is not None and digest_of(path) != digest:
        raise RegistryError(f"{uri}: its files are damaged (they are not those that were registered)")
    if missing := missing_data(path, uri):
        raise RegistryError(f"{uri}: its files are missing (there is nothing in {missing})")
    check_archives(path, uri)


def missing_data(path: Path, uri: str) -> str | None:
    """What the description of a model names and is not there."""
    from mlflow.models import Model

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
        if file.is_file() and not set(NOT_OURS) & set(name.parts):
            with file.open("rb") as content:
                digest.update(f"{name.as_posix()}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def megabytes(path: Path) -> float:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


def load_network(path: Path, uri: str) -> Any:
    """The Keras network: raw pixels in, probabilities out."""
    start_keras()
    import mlflow.keras

    try:
        return mlflow.keras.load_model(str(path), load_model_kwargs={"compile": False})
    except Exception as error:
        raise RegistryError(f"{uri}: cannot be loaded ({reason_of(error)})") from error


def let_it_answer(path: Path, uri: str) -> None:
    """Load the model as a server does and let it answer on its input example.

    Raises:
        RegistryError: it cannot be loaded, does not answer, or is not what `train` logs and `serve` serves.
    """
    start_keras()
    import mlflow.pyfunc

    for chatty in ("mlflow.pyfunc", "mlflow.utils.requirements_utils"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        model = mlflow.pyfunc.load_model(str(path))
        answer = model.predict(model.input_example)
    except Exception as error:
        raise RegistryError(f"{uri}: cannot be loaded and asked ({reason_of(error)})") from error
    if not {"label", "probability", "top"} <= set(getattr(answer, "columns", ())):
        raise RegistryError(
            f"{uri}: answers with no labels, as an image classifier that train has logged does; train it again"
        )
    if len(answer) == 0:
        raise RegistryError(f"{uri}: gives no answer on its own input example")
