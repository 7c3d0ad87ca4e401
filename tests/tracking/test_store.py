import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import mlflow
import pytest
from mlflow.artifacts import load_text

from imagelab.errors import SettingsError, TrackingError
from imagelab.tracking import project_folder, request, retry, use_tracking_store
from imagelab.tracking.start import experiment_id
from imagelab.tracking.stored_settings import record_in
from tests.conftest import LONGEST, free_port, thorough

CREATE = "from imagelab.tracking import use_tracking_store as u; u().create_run('0')"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlflow.set_tracking_uri", lambda uri: monkeypatch.setenv("MLFLOW_TRACKING_URI", uri))


def test_the_database_is_made_beside_mlproject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "MLproject").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert project_folder() == tmp_path
    client = use_tracking_store()
    assert client.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert client.get_experiment("0").artifact_location == str(tmp_path / "mlruns" / "0")


def test_a_uri_that_is_set_is_used_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mine.db")
    assert use_tracking_store().tracking_uri == f"sqlite:///{tmp_path}/mine.db"
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("name", ["my clone; é", "what?"])
def test_a_project_folder_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "MLproject").touch()
    monkeypatch.chdir(folder)
    use_tracking_store().create_run("0")
    assert (folder / "mlflow.db").exists()
    if "?" not in name:  # MLflow itself makes a folder of the quoted name
        assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_malformed_uri_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite://x.db")
    with pytest.raises(TrackingError, match="sqlite://x.db does not answer"):
        use_tracking_store()
    assert not list(tmp_path.iterdir())


@thorough
@pytest.mark.parametrize("opener", [CREATE, "import mlflow; mlflow.MlflowClient().create_run('0')"])
def test_four_first_commands_at_once_make_one_database(tmp_path: Path, opener: str) -> None:
    """Ours and MLflow's own: `mlflow run` opens the store before our code runs."""
    processes = [subprocess.Popen([sys.executable, "-c", opener], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        errors = process.communicate(timeout=LONGEST)[1]
        assert process.returncode == 0, errors
    assert len(use_tracking_store().search_runs(["0"])) == 4


@pytest.mark.parametrize("uri", ["http://127.0.0.1:{port}", "postgresql://me:secret@127.0.0.1:{port}/x"])
def test_a_store_that_is_away_is_said_at_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(port=free_port()))
    with pytest.raises(TrackingError, match="does not answer.*MLFLOW_TRACKING_URI") as error:
        use_tracking_store()
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


class Closed(BaseHTTPRequestHandler):
    """A tracking server, or a proxy before one, that lets nobody in."""

    status, asked = 401, 0

    def do_POST(self) -> None:
        type(self).asked += 1
        self.send_error(self.status)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *words: object) -> None: ...


@pytest.fixture(params=[401, 403])
def closed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Closed]]:
    handler = type("ClosedNow", (Closed,), {"status": request.param, "asked": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    yield handler
    server.shutdown()
    server.server_close()


WHAT_TO_DO = {401: "401: .*MLFLOW_TRACKING_USERNAME", 403: "403: .*--allowed-hosts"}


def test_a_server_that_lets_nobody_in_is_asked_once(closed: type[Closed]) -> None:
    with pytest.raises(TrackingError, match=f"refuses access .{WHAT_TO_DO[closed.status]}") as error:
        use_tracking_store()
    assert "\n" not in str(error.value)
    assert closed.asked == 1
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    with pytest.raises(TrackingError, match=WHAT_TO_DO[closed.status]):
        request(client.get_run, "0" * 32)
    with pytest.raises(TrackingError, match=WHAT_TO_DO[closed.status]):
        retry(lambda: load_text(f"mlflow-artifacts://{client.tracking_uri.removeprefix('http://')}/x"), 20)
    assert closed.asked <= 4


def test_a_database_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{broken}")
    with pytest.raises(TrackingError, match="file is not a database"):
        use_tracking_store()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}")
    with pytest.raises(TrackingError, match="unable to open database file"):
        use_tracking_store()


def test_an_experiment_that_is_not_there_is_said(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert experiment_id(client) == "0"
    deleted = client.create_experiment("deleted")
    client.delete_experiment(deleted)
    for given in ("99", "x y", deleted):
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", given)
        with pytest.raises(SettingsError, match=f"^MLFLOW_EXPERIMENT_ID={given}: there is no such experiment$"):
            experiment_id(client)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_damaged_settings_of_a_run_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content)
    with pytest.raises(TrackingError, match=r"settings.json is damaged \(.*\); it cannot be gone on with"):
        record_in(path)


def test_importing_the_room_imports_no_slow_library() -> None:
    code = "import sys, imagelab.tracking; assert not {'mlflow', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
