"""Fixtures: a project of one's own to type commands in, a tracking server to start and kill, real data."""

import importlib.util
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from filelock import FileLock

from imagelab.keras_startup import start_keras
from tests.forking import process as forking

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # eight processes beside each `mlflow server`
os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.pop("MLFLOW_RUN_ID", None)
if (
    "PYTEST_XDIST_WORKER_COUNT" in os.environ
):  # they share the cores; threads that wait for each other cost a fifth more
    SHARE = str(max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))
    os.environ |= {"TF_NUM_INTRAOP_THREADS": SHARE, "TF_NUM_INTEROP_THREADS": SHARE}
start_keras()

pytest_plugins = ("tests.processor_seconds",)
ROOT = Path(__file__).resolve().parent.parent
LONGEST = 900.0  # seconds to wait for what must come, on a machine however slow and busy
PARTS = ("MLproject", "conda.yaml", "entrypoints", "src")
TAKE_MINUTES = (  # the longest first
    *("test_train_command", "test_transfer_command", "test_story", "test_tune_command", "test_transfer"),
    *("test_operations", "test_endings", "test_notebooks", "test_loop", "test_predict_command"),
)
thorough = pytest.mark.thorough  # run by `make test-thorough`, not by `make test`
CHROMIUM = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1500,4000"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules come first, so that no process is left alone with one at the end."""
    order = {name: number for number, name in enumerate(TAKE_MINUTES)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(autouse=True)
def mlflow_as_found() -> Iterator[None]:
    """MLflow keeps the tracking URI in the process and its environment; each test begins without one."""
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Any]) -> Path:
    """A folder that one of the processes that run the tests makes, for all of them; nobody may change it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, is_made = base / name, base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not is_made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            is_made.touch()
    return folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated tracking database without runs: making one takes seconds."""

    def make(folder: Path) -> None:
        command = "import mlflow, sys; mlflow.MlflowClient(sys.argv[1]).search_experiments()"
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        subprocess.run([sys.executable, "-c", command, uri], check=True, capture_output=True)

    return made_once(tmp_path_factory, "database", make) / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> "Iterator[Project]":
    """A copy of the project with a tracking database of its own."""
    project = make_project(tmp_path / "project", empty_database)
    yield project
    project.end()


@pytest.fixture
def client(project: "Project", monkeypatch: pytest.MonkeyPatch) -> Any:
    """The store of the project, for code that runs in this process as if it had been typed there."""
    from imagelab.tracking import use_tracking_store

    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
    return use_tracking_store()


def make_project(folder: Path, empty_database: Path) -> "Project":
    """A copy of the project in a folder, with a tracking database of its own."""
    folder.mkdir(exist_ok=True)
    for part in PARTS:
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, folder / part)  # type: ignore[operator]
    shutil.copy(empty_database, folder / "mlflow.db")
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("update experiments set artifact_location = ?", (str(folder / "mlruns" / "0"),))
    return Project(folder)


def copy_store(source: Path, folder: Path) -> None:
    """Copy a project's tracking database and artifacts into another folder, where the copy finds its artifacts."""
    shutil.copytree(source / "mlruns", folder / "mlruns")
    shutil.copy(source / "mlflow.db", folder / "mlflow.db")
    move_artifacts(folder, source)


def move_artifacts(folder: Path, source: Path) -> None:
    """Let a tracking database that came from another folder look for its artifacts in this one."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
            ("model_versions", "storage_location"),
        ):
            move = f"update {table} set {column} = replace({column}, ?, ?)"
            database.execute(move, (str(source), str(folder)))


class Project:
    """A project folder to type commands in; what they leave behind is looked at through `client`.

    Attributes:
        forks: whether our commands may run in processes forked from a prepared interpreter, with the modules of this
            repository. False: in new ones, with those of the folder's own copy.
    """

    def __init__(self, folder: Path) -> None:
        self.forks = True
        self.folder = folder
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.started: list[subprocess.Popen[str]] = []

    def end(self) -> None:
        """Leave no process behind that a failed test has not waited for."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @property
    def client(self) -> Any:
        import mlflow

        return mlflow.MlflowClient(self.uri)

    def start(self, *command: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a command in the project, in a process group of its own (as a shell does)."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(self.folder / "src"), **environment}
        process = start(command, self.folder, env, self.forks)
        self.started.append(process)
        return process

    def train(self, *settings: str, **environment: str) -> "subprocess.Popen[str]":
        """Start the train entry point; digits and basic_ann unless others are named."""
        names = {setting.split("=")[0] for setting in settings}
        small = [
            f"{name}={value}" for name, value in (("dataset", "digits"), ("model", "basic_ann")) if name not in names
        ]
        flags = (
            [f"--{setting}" for setting in (*small, *settings)]
            if "resume" not in names
            else [f"--{s}" for s in settings]
        )
        return self.start(sys.executable, "-m", "entrypoints.train", *flags, **environment)

    def tune(self, *settings: str, **environment: str) -> "subprocess.Popen[str]":
        """Start the tune entry point; short trials of basic_ann on digits unless others are named."""
        usual = {"dataset": "digits", "model": "basic_ann", "epochs": "2", "refit": "false"}
        usual |= dict(setting.split("=", 1) for setting in settings)
        flags = [f"--{name}={value}" for name, value in usual.items()]
        return self.start(sys.executable, "-m", "entrypoints.tune", *flags, **environment)

    def study(self, name: str = "digits-basic_ann", storage: str | None = None) -> Any:
        """A study as Optuna itself loads it."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        url = storage or f"sqlite:///{self.folder / 'optuna.db'}"
        looking_only = optuna.storages.RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)
        return optuna.load_study(study_name=name, storage=looking_only)

    def runs(self) -> list[Any]:
        return list(self.client.search_runs(["0"]))

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        return sorted((point.step, point.value) for point in self.client.get_metric_history(run_id, key))

    def artifacts(self, run_id: str, folder: str | None = None) -> set[str]:
        """Paths of every artifact file of a run."""
        found: set[str] = set()
        for entry in self.client.list_artifacts(run_id, folder):
            found |= self.artifacts(run_id, entry.path) if entry.is_dir else {entry.path}
        return found

    def epochs_done(self) -> int:
        """Complete epochs of the only run under way."""
        import json

        for path in (self.folder / "runs").glob("*/checkpoints/progress.json"):
            return len(json.loads(path.read_text()))
        return 0


def start(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    forks: bool = True,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
) -> "subprocess.Popen[str]":
    """A process in a session of its own: a forked one, where that may be and does the same, or a new one."""
    streams = {"stdout": stdout, "stderr": stderr}
    if forks and (forked := forking.start(command, folder, environment, **streams)):
        return forked
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, text=True, **streams)


def finish(process: "subprocess.Popen[str]", seconds: float = LONGEST) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a process that ends by itself."""
    output, errors = process.communicate(timeout=seconds)
    return process.returncode, output, errors


def wait_until(
    condition: Callable[[], Any], seconds: float = LONGEST, process: "subprocess.Popen[Any] | None" = None
) -> None:
    """Wait until something holds; fail at once if the process that should bring it about has ended before."""
    deadline = time.monotonic() + seconds
    while not condition():
        ended = process is not None and process.poll() is not None
        if ended and not condition():
            raise AssertionError(f"waited in vain: the process has ended: {process.returncode} {process.communicate()}")
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def answers(address: str) -> bool:
    """Whether an MLflow server is up."""
    import requests

    try:
        return bool(requests.get(f"{address}/health", timeout=2).ok)
    except requests.RequestException:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real `mlflow server` on a SQLite database, to start, kill and start again on the same port."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        shutil.copy(database, folder / "server.db")
        with sqlite3.connect(folder / "server.db") as connection:
            connection.execute("update experiments set artifact_location = 'mlflow-artifacts:/0'")
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        options = ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}", "--port", str(self.port)]
        options += ["--artifacts-destination", str(self.folder / "served"), "--workers", "1"]
        command = [sys.executable, "-m", "mlflow", "server", *options]
        with (self.folder / "server.log").open("a") as log:
            self.process = start(command, self.folder, os.environ, stdout=log, stderr=log)
        wait_until(lambda: answers(self.uri), process=self.process)

    def kill(self) -> None:
        if self.process:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> "Iterator[Project]":
    """A project whose registry has a small network; see tests/prediction/prepared_models.py."""
    from tests.prediction.prepared_models import make_registered_project

    def make(folder: Path) -> None:
        make_registered_project(folder, empty_database).end()

    registered = make_project(tmp_path_factory.mktemp("project"), empty_database)
    copy_store(made_once(tmp_path_factory, "registered", make), registered.folder)
    yield registered
    registered.end()


@pytest.fixture
def server(tmp_path: Path, empty_database: Path) -> Iterator[Server]:
    server = Server(tmp_path, empty_database)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def mobilenet_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of random weights for MobileNetV2, whose normalisation fits the digits."""
    return str(made_once(tmp_path_factory, "weights", save_mobilenet_weights) / "mobilenet.weights.h5")


def save_mobilenet_weights(folder: Path) -> None:
    import keras
    import numpy as np

    from imagelab.data import load_dataset

    keras.utils.set_random_seed(1)
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    pixels = load_dataset("digits").train.images[:64].repeat(3, axis=3).astype(np.float32)
    images = keras.ops.image.resize(pixels, (32, 32))
    network(keras.applications.mobilenet_v2.preprocess_input(images), training=True)
    network.save_weights(folder / "mobilenet.weights.h5")


def real_data(name: str) -> Any:
    """The real data set; where this machine has none the test is skipped, but fails where it must be."""
    from imagelab.data import find_dataset

    return find_dataset(name) or absent(f"the real {name} is not here")


def real_resnet50_weights() -> Path:
    """The file of real ResNet50 weights in Keras's home; absent, as with the data."""
    from imagelab.data import cache

    path = cache.weights_folder() / "resnet50_imagenet_notop.weights.h5"
    return path if path.is_file() else absent(f"{path} is not here")


def needs(extra: str) -> None:
    """Skip a test whose extra package is not installed; where all are said to be, it fails."""
    if importlib.util.find_spec(extra) is None:
        what = f"{extra} is not installed: make extras"
        pytest.fail(what) if os.environ.get("IMAGELAB_REQUIRE_EXTRAS") else pytest.skip(what)


def absent(what: str) -> NoReturn:
    if os.environ.get("IMAGELAB_REQUIRE_REAL_DATA"):
        pytest.fail(f"{what}, and this machine is said to have it")
    pytest.skip(what)


def open_chromium(profile: Path) -> Any:
    """Headless Chromium as selenium drives it, with a profile of its own; `quit` ends it."""
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.fail("this needs Debian's packages chromium and chromium-driver (.ci/run installs them)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*CHROMIUM, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    browser.set_page_load_timeout(LONGEST)
    browser.set_script_timeout(LONGEST)
    return browser


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    browser = open_chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """A new tab, which knows nothing of those before it."""
    before = chromium.current_window_handle
    chromium.switch_to.new_window("tab")
    tab = chromium.current_window_handle
    chromium.get_log("browser")  # one log for all tabs: what they left in it is taken out
    yield chromium
    chromium.close()
    chromium.switch_to.window(before)
    assert tab not in chromium.window_handles
