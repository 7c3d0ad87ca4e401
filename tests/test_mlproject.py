import tomllib

import pytest
import yaml
from pydantic import BaseModel

from imagelab.settings import (
    PredictSettings,
    PromoteSettings,
    RollbackSettings,
    ServeSettings,
    TrainSettings,
    TuneSettings,
)
from tests.conda_yaml import conda_yaml
from tests.conftest import ROOT

MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
ENTRY_POINTS = MLPROJECT["entry_points"]


def test_the_environment_is_declared_once() -> None:
    assert MLPROJECT["conda_env"] == "conda.yaml"
    assert not {"python_env", "docker_env"} & set(MLPROJECT)


def test_conda_yaml_has_the_pins_of_uv_lock() -> None:
    assert (ROOT / "conda.yaml").read_text() == conda_yaml(), "run `make lock`"


def test_conda_yaml_pins_every_direct_dependency() -> None:
    pip = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"][-1]["pip"]
    pinned = {line.split("==")[0] for line in pip}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {line.split(">=")[0].split("[")[0] for line in declared} <= pinned


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_each_entry_point_opens_a_thin_door(name: str) -> None:
    module = ENTRY_POINTS[name]["command"].split()[2]
    door = ROOT / f"{module.replace('.', '/')}.py"
    assert ENTRY_POINTS[name]["command"].startswith("python -m entrypoints.")
    assert len(door.read_text().splitlines()) < 25


SETTINGS: dict[str, type[BaseModel]] = {
    "main": TrainSettings,
    "train": TrainSettings,
    "tune": TuneSettings,
    "promote": PromoteSettings,
    "rollback": RollbackSettings,
    "serve": ServeSettings,
    "predict": PredictSettings,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_only_dataset_and_model_are_declared_with_the_defaults_of_the_code(name: str) -> None:
    defaults = {key: parameter["default"] for key, parameter in ENTRY_POINTS[name]["parameters"].items()}
    assert defaults == {key: SETTINGS[name].model_fields[key].default for key in ("dataset", "model")}
    for key in defaults:
        assert f"--{key} {{{key}}}" in ENTRY_POINTS[name]["command"]


def test_main_is_train() -> None:
    assert ENTRY_POINTS["main"] == ENTRY_POINTS["train"]
