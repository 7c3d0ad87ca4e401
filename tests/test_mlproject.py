import re
import tomllib

import pytest
import yaml

from imagelab.commands import COMMANDS
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


FIELDS = {name: command.settings.model_fields for name, command in COMMANDS.items()}
DECLARED = [name for name, fields in FIELDS.items() if "dataset" in fields and fields["dataset"].default is not None]


def test_the_entry_points_are_the_commands_and_main() -> None:
    assert set(ENTRY_POINTS) == {"main", *COMMANDS}


@pytest.mark.parametrize("name", DECLARED)
def test_only_dataset_and_model_are_declared_with_the_defaults_of_the_code(name: str) -> None:
    defaults = {key: parameter["default"] for key, parameter in ENTRY_POINTS[name]["parameters"].items()}
    assert defaults == {key: COMMANDS[name].settings.model_fields[key].default for key in ("dataset", "model")}
    for key in defaults:
        assert f"--{key} {{{key}}}" in ENTRY_POINTS[name]["command"]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - set(DECLARED)))
def test_other_commands_declare_nothing(name: str) -> None:
    assert "parameters" not in ENTRY_POINTS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_names_a_function_that_exists(name: str) -> None:
    module, function = COMMANDS[name].function.split(":")
    source = (ROOT / "src" / f"{module.replace('.', '/')}.py").read_text()
    assert re.search(rf"\ndef {function}\(settings: \w+\) -> str:", source)


def test_main_is_train() -> None:
    assert ENTRY_POINTS["main"] == ENTRY_POINTS["train"]
