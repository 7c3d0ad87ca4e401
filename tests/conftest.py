"""Fixtures: a project of one's own to type commands in, a tracking server to start and kill, real data."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from imagelab.quiet import start_keras

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.pop("MLFLOW_RUN_ID", None)
start_keras()

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("MLproject", "conda.yaml", "entrypoints", "src")
TAKE_MINUTES = ("test_deeds", "test_story", "test_train_command", "test_transfer_command", "test_tune_command")
CHROMIUM = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1500,4000"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules come first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: item.path.stem not in TAKE_MINUTES)


@pytest.fixture(autouse=True)
def mlflow_as_found() -> Iterator[None]:
    """MLflow keeps the tracking URI in the process and its environment; each test begins without one."""
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated tracking database without runs: making one takes seconds."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    command = "import mlflow, sys; mlflow.MlflowClient(sys.argv[1]).search_experiments()"
    subprocess.run([sys.executable, "-c", command, f"sqlite:///{path}"], check=True, capture_output=True)
    return path


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> "Iterator[Project]":
    """A copy of the project with a tracking database of its own."""
    project = make_project(tmp_path / "project", empty_database)
    yield project
    project.end()


def make_project(folder: Path, empty_database: Path) -> "Project":
    """A copy of the project in a folder, with a tracking database of its own."""
    folder.mkdir(exist_ok=True)
    for part in PARTS:
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, folder / part)  # type: ignore[operator]
    shutil.copy(empty_database, folder / "mlflow.db")
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("update experiments set artifact_location = ?", (str(folder / "mlruns" / "0"),))
    return Project(folder)


class Project:
    """A project folder to type commands in; what they leave behind is looked at through `client`."""

    def __init__(self, folder: Path) -> None:
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
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=self.folder, env=env, start_new_session=True, **pipes)
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


def finish(process: "subprocess.Popen[str]", seconds: float = 300) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a process that ends by itself."""
    output, errors = process.communicate(timeout=seconds)
    return process.returncode, output, errors


def wait_until(condition: Callable[[], Any], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
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
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}", "--port", str(self.port)]
        options += ["--artifacts-destination", str(self.folder / "served"), "--workers", "1"]
        log = (self.folder / "server.log").open("a")
        command = [sys.executable, "-m", "mlflow", "server", *options]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

        wait_until(lambda: answers(self.uri))

    def kill(self) -> None:
        if self.process:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path, empty_database: Path) -> Iterator[Server]:
    server = Server(tmp_path, empty_database)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def mobilenet_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of random weights for MobileNetV2, whose normalisation fits the digits."""
    import keras
    import numpy as np

    from imagelab.data import load_dataset

    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    keras.utils.set_random_seed(1)
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    pixels = load_dataset("digits").train.images[:64].repeat(3, axis=3).astype(np.float32)
    images = keras.ops.image.resize(pixels, (32, 32))
    network(keras.applications.mobilenet_v2.preprocess_input(images), training=True)
    network.save_weights(path)
    return str(path)


def real_data(name: str) -> Any:
    """The real data set; where this machine has none the test is skipped, but fails where it must be."""
    from imagelab.data import find_dataset

    return find_dataset(name) or absent(f"the real {name} is not here")


def real_resnet50_weights() -> Path:
    """The file of real ResNet50 weights in Keras's home; absent, as with the data."""
    from imagelab.data import cache

    path = cache.weights_folder() / "resnet50_imagenet_notop.weights.h5"
    return path if path.is_file() else absent(f"{path} is not here")


def absent(what: str) -> NoReturn:
    if os.environ.get("IMAGELAB_REQUIRE_REAL_DATA"):
        pytest.fail(f"{what}, and this machine is said to have it")
    pytest.skip(what)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.fail("this test needs Debian's packages chromium and chromium-driver (.ci/run installs them)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*CHROMIUM, f"--user-data-dir={tmp_path / 'chromium'}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()
