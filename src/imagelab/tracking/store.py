"""Which tracking store is used, that it answers, and that a SQLite one is created once."""

import os
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from filelock import FileLock

from imagelab.errors import TrackingError
from imagelab.signals import uninterrupted

if TYPE_CHECKING:
    import mlflow

SQLITE = "sqlite:///"
DENIED = {
    401: "the tracking server wants to know who you are; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
    "or MLFLOW_TRACKING_TOKEN",
    403: "the tracking server does not let you in; ask for permission, or let it be started with --allowed-hosts "
    "if it does not know its own name",
}
REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}


def project_folder() -> Path:
    """The folder with MLproject: the current one or the nearest above it; the current one where there is none."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "MLproject").exists()), here)


def runs_folder() -> Path:
    """Where unfinished runs keep checkpoints and what has not been delivered yet, a folder a run."""
    return project_folder() / "runs"


def make_runs_folder() -> None:
    """Make the folder of unfinished runs, before a run is made that could not be kept there.

    Raises:
        TrackingError: it cannot be made.
    """
    try:
        runs_folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(f"the folder {runs_folder()} cannot be made ({error.strerror})") from error


def use_tracking_store() -> "mlflow.MlflowClient":
    """A client of MLFLOW_TRACKING_URI, or of `mlflow.db` beside MLproject; made sure to answer now.

    Raises:
        TrackingError: the store does not answer.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Delivery tries again by itself, so that a request may give up soon.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(f"{SQLITE}{quoted(project_folder() / 'mlflow.db')}")
    uri = mlflow.get_tracking_uri()
    try:
        path = database_path(uri)
        if uri.startswith(("postgresql", "mysql", "mssql")) or (path is not None and path.exists()):
            connect_once(uri)
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
    except Exception as error:
        if denial_of(error):
            raise TrackingError(
                f"the tracking store {without_password(uri)} refuses access ({reason_of(error)})"
            ) from error
        raise TrackingError(
            f"the tracking store {without_password(uri)} does not answer ({reason_of(error)}); "
            "start it, or set MLFLOW_TRACKING_URI to one that runs, or unset it to use mlflow.db in this folder"
        ) from error
    return client if uri.startswith("http") else cast("mlflow.MlflowClient", WholeRequests(client))


class WholeRequests:
    """A client of a database that this process itself works on: no request is interrupted in the middle."""

    def __init__(self, client: "mlflow.MlflowClient") -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.client, name)
        if not callable(attribute) or "artifact" in name:  # files may be elsewhere, and large
            return attribute

        def whole(*arguments: Any, **options: Any) -> Any:
            with uninterrupted():
                return attribute(*arguments, **options)

        return whole


def connect_once(uri: str) -> None:
    """Fail at once where a database is away or cannot be opened; MLflow itself would try for minutes."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def reason_of(error: Exception) -> str:
    """The innermost cause of an error, in one short line; where the store lets nobody in, what to do about it."""
    if status := denial_of(error):
        return f"{status}: {DENIED[status]}"
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text.rsplit("Caused by ", 1)[-1][:200].strip("()") if "Caused by " in text else text[:200]


def denial_of(error: Exception) -> int | None:
    """The HTTP status 401 or 403, where a tracking server has answered by one; asking again is in vain."""
    status_of = getattr(error, "get_http_status_code", None)  # of MLflow's errors; those of requests have a response
    status = status_of() if status_of else getattr(getattr(error, "response", None), "status_code", None)
    return status if status in DENIED else None


def may_pass(error: Exception) -> bool:
    """Whether trying again can help: the store is away or its disk is full, but it has not said no."""
    from mlflow.exceptions import MlflowException

    if denial_of(error):
        return False
    if isinstance(error, MlflowException):
        return error.error_code not in REFUSALS
    return isinstance(error, OSError)  # requests' errors are such, too


def without_password(uri: str) -> str:
    from sqlalchemy.engine import make_url

    try:
        url = make_url(uri)
        if "password" in url.query:
            url = url.update_query_dict({"password": "***"})
        return url.render_as_string(hide_password=True) if url.password or url.query else uri
    except Exception:
        return uri


def address_of(uri: str, experiment_id: str, run_id: str) -> str:
    """Where to look at a run: a page of the tracking server, or the command that starts one."""
    shown = without_password(uri)
    page = f"#/experiments/{experiment_id}/runs/{run_id}"
    if uri.startswith("http"):
        return f"{shown.rstrip('/')}/{page}"
    default = database_path(uri) == Path.cwd() / "mlflow.db"
    ui = "mlflow ui" if default else f"mlflow ui --backend-store-uri {shlex.quote(shown)}"
    return f"{ui}, then http://127.0.0.1:5000/{page}"


def make_sqlite_tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """MLflow's SQLite tracking store, opened under a lock, with artifacts beside the database.

    Registered with MLflow in pyproject.toml, so that `mlflow run` and `mlflow ui` use it too: several first commands
    at once would otherwise all create the same database and break it for good.
    """
    from mlflow.tracking._tracking_service.utils import _get_sqlalchemy_store

    if artifact_uri is None and (path := database_path(store_uri)):
        artifact_uri = os.environ.get("_MLFLOW_SERVER_ARTIFACT_ROOT") or str(path.parent / "mlruns")
    with creating(store_uri):
        return _get_sqlalchemy_store(hardly_quoted(store_uri), artifact_uri)


def make_sqlite_registry_store(store_uri: str) -> Any:
    """MLflow's SQLite model registry, opened under the same lock."""
    from mlflow.tracking._model_registry.utils import _get_sqlalchemy_store

    with creating(store_uri):
        return _get_sqlalchemy_store(hardly_quoted(store_uri))


def creating(store_uri: str) -> Any:
    path = database_path(store_uri)
    if path is None:
        return nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def hardly_quoted(store_uri: str) -> str:
    path = database_path(store_uri)
    return store_uri if path is None or "?" in store_uri else f"{SQLITE}{quoted(path)}"


def quoted(path: Path) -> str:
    """A path as a SQLite URI has it; no more is quoted than must be, since MLflow makes a folder of the quoted name."""
    return str(path).replace("%", "%25").replace("?", "%3F")


def database_path(store_uri: str) -> Path | None:
    """The file of a SQLite URI; None for one in memory, and for what is no such URI."""
    if not store_uri.startswith(SQLITE):
        return None
    name = unquote(store_uri.removeprefix(SQLITE).split("?")[0])
    return Path(name).absolute() if name and ":memory:" not in name else None
