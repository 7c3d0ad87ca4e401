"""A project with trained runs, whose registry each test has to itself."""

import json
import shutil
import sqlite3
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from imagelab.registry.promotion import promote
from imagelab.registry.rollback import roll_back
from imagelab.settings import PromoteSettings, RollbackSettings
from tests.conftest import Project, copy_store, finish, made_once, make_project

TRAIN = """
import sys
from imagelab.experiment import run_experiment
from imagelab.settings import TrainSettings, parse
for flags in sys.argv[1:]:
    same = ["--dataset=digits", "--model=basic_ann", "--mixed_precision=float32"]
    run_experiment(parse(TrainSettings, "train", [*same, *flags.split()]))
"""
NAME = "digits-basic_ann"
HERE = {"dataset": "digits", "model": "basic_ann"}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A project with three runs: weak, strong (of the same split), and other (of another split)."""
    return made_once(tmp_path_factory, "trained", lambda folder: train_three(make_project(folder, empty_database)))


def train_three(project: Project) -> None:
    wanted = ("--note=weak --epochs=1", "--note=strong --epochs=12", "--note=other --epochs=6 --seed=5 --split_seed=5")
    code, _, errors = finish(project.start(sys.executable, "-c", TRAIN, *wanted))
    project.end()
    assert code == 0, errors


class Registry:
    """A copy of the trained project's database, in which a test may do as it likes."""

    def __init__(self, database: Path, artifacts: Path) -> None:
        import mlflow

        self.artifacts, self.database = artifacts, database
        self.client = mlflow.MlflowClient(f"sqlite:///{database}")
        runs = self.client.search_runs(["0"])
        self.runs = {run.data.tags["mlflow.note.content"].split("\n\n")[0]: run.info.run_id for run in runs}

    def promote(self, note: str | None = None, **settings: Any) -> str:
        named = {"run_id": self.runs[note]} if note else {}
        return promote(PromoteSettings(**HERE, **named, **settings))

    def roll_back(self, **settings: Any) -> str:
        return roll_back(RollbackSettings(**HERE, **settings))

    def add_model(self, run_id: str) -> None:
        """Let a run have a model that nobody can load."""
        experiment = self.client.get_run(run_id).info.experiment_id
        model = self.client.create_logged_model(experiment, "model", run_id)
        self.client.finalize_logged_model(model.model_id, "READY")

    def make_as_before(self, note: str) -> None:
        """Take from a run what runs of before do not have: role, typed settings and split, and a seed of the split."""
        run_id = self.runs[note]
        folder = self.artifacts / "0" / run_id / "artifacts"
        (folder / "split.json").unlink()
        settings = json.loads((folder / "settings.json").read_text())
        del settings["split_seed"]
        (folder / "settings.json").write_text(json.dumps(settings))
        for tag in ("role", "settings"):
            self.client.delete_tag(run_id, tag)
        with sqlite3.connect(self.database) as database:
            database.execute("delete from params where key = 'split_seed' and run_uuid = ?", (run_id,))

    @property
    def aliases(self) -> dict[str, int]:
        aliases = self.client.get_registered_model(NAME).aliases
        return {alias: int(version) for alias, version in aliases.items()}

    @property
    def versions(self) -> list[Any]:
        return sorted(self.client.search_model_versions(f"name = '{NAME}'"), key=lambda found: int(found.version))

    def operation(self, phase: str = "promotion") -> Any:
        """The newest run of a promotion or rollback."""
        return self.client.search_runs(["0"], f"tags.phase = '{phase}'")[0]

    def network(self, note: str) -> Path:
        """The file of a run's network."""
        [model] = self.client.search_logged_models(["0"], f"source_run_id = '{self.runs[note]}'")
        return next(Path(model.artifact_location).rglob("*.keras"))


@pytest.fixture
def registry(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    project = tmp_path / "project"
    copy_store(trained, project)
    shutil.copy(trained / "MLproject", project / "MLproject")
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
    return Registry(project / "mlflow.db", project / "mlruns")


def fake_run(registry: Registry, note: str, **changed: Any) -> str:
    """A run like another one, without a model and, as runs of before, without a role."""
    run = registry.client.get_run(registry.runs[note])
    tags = {"dataset": "digits", "model": "basic_ann", "dataset_digest": run.data.tags["dataset_digest"]}
    made = registry.client.create_run("0", tags=tags | changed.get("tags", {})).info.run_id
    registry.client.log_metric(made, "best_val_accuracy", changed.get("accuracy", 1.0))
    if status := changed.get("status", "FINISHED"):
        registry.client.set_terminated(made, status)
    return str(made)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def flip(path: Path) -> None:
    """A bit of a weight, which Keras itself would load."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        weights = archive.getinfo("model.weights.h5")
    content[weights.header_offset + weights.compress_size // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {"truncated": truncate, "flipped": flip, "missing": Path.unlink}
