"""Promotions and rollbacks that are killed between any two steps, or come at once, on SQLite and PostgreSQL."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LONGEST, ROOT, Server, thorough
from tests.postgresql import PostgreSQL

PROMOTION = ["challenger", "promotion"]


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """With a migrated database without runs, as a template."""
    folder = tmp_path_factory.mktemp("postgresql")
    database = PostgreSQL()
    database.start()
    command = "import mlflow, sys; mlflow.MlflowClient(sys.argv[1]).search_experiments()"
    subprocess.run([sys.executable, "-c", command, database.make("empty")], check=True, capture_output=True, cwd=folder)
    yield database
    database.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> str:
    if request.param == "sqlite":
        shutil.copy(empty_database, tmp_path / "mlflow.db")
        return f"sqlite:///{tmp_path / 'mlflow.db'}"
    database, name = request.getfixturevalue("postgresql"), f"mlflow_{uuid.uuid4().hex}"
    server = ("-h", "127.0.0.1", "-p", str(database.port), "-U", "tuner")
    database.run("createdb", *server, "--template", "empty", name)
    return f"postgresql://tuner@127.0.0.1:{database.port}/{name}"


WHOLE = [pytest.param(name, 1, marks=thorough) for name in ("sqlite", "postgresql")]
BOTH = pytest.mark.parametrize("uri", ["sqlite", pytest.param("postgresql", marks=thorough)], indirect=True)
STRIDES = pytest.mark.parametrize(("uri", "stride"), WHOLE, indirect=["uri"])


def states(what: str, uri: str, folder: Path, stride: int = 1) -> dict[str, dict[str, Any]]:
    """What `tests.registry.operations` has found in the end, of each registered model."""
    command = [sys.executable, "-m", "tests.registry.operations", uri, what]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "IMAGELAB_KILL_STRIDE": str(stride)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=LONGEST)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_whole(state: dict[str, Any]) -> None:
    """One order without gaps, aliases as its end says, every operation written down, nothing left open."""
    assert state["agreed"]
    assert state["numbers"] == list(range(1, len(state["numbers"]) + 1))
    assert state["aliases"]["champion"] == state["champions"][-1]
    assert state["running"] == 0
    assert state["models"] == len(state["versions"])
    assert set(state["verdicts"]) <= {"promoted", "rolled back"}
    before = None
    for champion, previous in zip(state["champions"], state["previous"], strict=True):
        if champion != before:
            assert previous == before
        before = champion


@STRIDES
def test_a_first_promotion_killed_after_any_step_and_typed_again_completes(
    uri: str, tmp_path: Path, stride: int
) -> None:
    found = states("first_promotion", uri, tmp_path, stride)
    assert len(found) * stride >= 14  # until the version is there and compared
    for state in found.values():
        assert_whole(state)
        assert state["kinds"] == PROMOTION
        assert state["aliases"] == {"champion": "1", "previous": None, "challenger": None}
        assert state["versions"] == [1]


@pytest.mark.parametrize(("uri", "stride"), [("sqlite", 7), *WHOLE], indirect=["uri"])
def test_promotions_killed_after_any_step_and_typed_again_complete(uri: str, tmp_path: Path, stride: int) -> None:
    [state] = states("promotion", uri, tmp_path, stride).values()
    assert_whole(state)
    times = len(state["versions"])
    assert times * stride > 25  # so many steps has a promotion, and one more that came through
    assert state["versions"] == list(range(1, times + 1))
    assert state["kinds"] == PROMOTION * times
    assert state["champions"][1::2] == [str(version) for version in state["versions"]]
    assert state["aliases"] == {"champion": str(times), "previous": str(times - 1), "challenger": None}
    assert state["verdicts"] == ["promoted"] * times
    assert state["champion_verdict"] == "promoted"
    assert all(state["compared"])


@STRIDES
def test_rollbacks_killed_after_any_step_and_typed_again_swap_once_each(uri: str, tmp_path: Path, stride: int) -> None:
    [state] = states("rollback", uri, tmp_path, stride).values()
    assert_whole(state)
    times = len(state["kinds"]) - 4
    assert times * stride > 10
    assert state["kinds"] == [*PROMOTION, *PROMOTION, *["rollback"] * times]
    assert state["champions"][3:] == (["2", "1"] * times)[: times + 1]
    assert state["verdicts"] == ["promoted"] * 2 + ["rolled back"] * times


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        ("sqlite", "at_once"),
        pytest.param("postgresql", "at_once", marks=thorough),
        pytest.param("sqlite", "storm", marks=thorough),
        pytest.param("postgresql", "storm", marks=thorough),
    ],
    indirect=["uri"],
)
def test_six_promotions_at_once_have_one_order(what: str, uri: str, tmp_path: Path) -> None:
    """The storm kills them, too, at any step, and starts them again."""
    assert_one_order(what, uri, tmp_path)


@thorough
def test_a_storm_through_a_server(server: Server, tmp_path: Path) -> None:
    assert_one_order("storm", server.uri, tmp_path)


def assert_one_order(what: str, uri: str, tmp_path: Path) -> None:
    [state] = states(what, uri, tmp_path).values()
    assert_whole(state)
    best = json.loads((tmp_path / "candidates.json").read_text())[-1]
    assert state["champion_run"] == best["run_id"]
    assert len(state["versions"]) == 6
    assert state["champion_verdict"] == "promoted"
    assert all(state["compared"])


@BOTH
def test_six_promotions_of_one_model_make_one_version(uri: str, tmp_path: Path) -> None:
    [state] = states("one_version", uri, tmp_path).values()
    assert_whole(state)
    assert len(state["versions"]) == 1
    assert state["kinds"].count("promotion") == 1


@BOTH
def test_a_model_registered_by_hand_gets_one_history(uri: str, tmp_path: Path) -> None:
    [state] = states("by_hand", uri, tmp_path).values()
    assert state["histories"] == 1
    assert state["kinds"][0] == "moved by hand"
    assert_whole(state)
    assert len(state["versions"]) == 4
    assert state["aliases"]["champion"] == state["champions"][-1] != "1"
