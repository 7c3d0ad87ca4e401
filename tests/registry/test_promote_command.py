"""`-e promote` and `-e rollback`, as they are typed."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from imagelab.errors import SettingsError
from imagelab.settings import PromoteSettings, RollbackSettings, parse
from tests.conftest import PARTS, ROOT, Project, finish, thorough
from tests.registry.conftest import NAME, Registry


@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        (PromoteSettings, ["--min_improvement", "2"], "min_improvement=2"),
        (PromoteSettings, ["--run_id", "abc"], "run_id=abc: must be an MLflow run id"),
        (PromoteSettings, ["--max_size_mb", "0"], "max_size_mb=0"),
        (PromoteSettings, ["--to_version", "1"], "no setting named 'to_version'"),
        (PromoteSettings, ["--history", "true", "--min_accuracy", "0.5"], "leave out min_accuracy"),
        (PromoteSettings, ["--history", "perhaps"], "true or false"),
        (RollbackSettings, ["--to_version", "0"], "to_version=0"),
        (RollbackSettings, ["--to_version", "last"], "a whole number >= 1"),
        (RollbackSettings, ["--model", "resnet"], "did you mean resnet50"),
    ],
)
def test_a_wrong_setting_is_one_line_that_helps(kind: Any, arguments: list[str], says: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(kind, "promote", arguments)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@thorough
def test_the_commands_as_they_are_typed(registry: Registry) -> None:
    project = Project(Path.cwd())
    for part in PARTS:
        if not (project.folder / part).exists():
            (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, project.folder / part)  # type: ignore[operator]
    os.environ.pop("MLFLOW_TRACKING_URI")
    names = ["-P", "dataset=digits", "-P", "model=basic_ann"]
    command = ["mlflow", "run", ".", "--env-manager", "local", *names]
    code, output, errors = finish(project.start(*command, "-e", "promote", "-P", f"run_id={registry.runs['weak']}"))
    assert code == 0, errors
    assert "version 1 is champion" in output
    assert registry.operation().info.status == "FINISHED"
    flags = ["--dataset", "digits", "--model", "basic_ann"]
    door = [sys.executable, "-m"]
    at_once = [
        project.start(*door, "entrypoints.promote", *flags, "--run_id", registry.runs[note])
        for note in ("strong", "other")
    ]
    ended = [finish(process) for process in at_once]
    assert {code for code, _, _ in ended} <= {0, 1}, ended
    champion = registry.aliases["champion"]
    assert registry.client.get_model_version(NAME, str(champion)).run_id != registry.runs["weak"]
    runs = len(registry.client.search_runs(["0"]))
    code, _, errors = finish(project.start(*door, "entrypoints.promote", *flags, "--run_id", registry.runs["weak"]))
    assert code == 1
    *loading, few, reason = errors.splitlines()
    assert [line.split(",")[0] for line in loading] == ["loading version 1", f"loading version {champion}"]
    assert few.endswith(" images were kept from both versions: a rough comparison")
    assert reason.startswith(f"promote: {NAME} version 1 stays challenger")
    code, _, errors = finish(project.start(*door, "entrypoints.rollback", *flags, "--to_version", "77"))
    assert (code, errors.count("\n")) == (2, 1)
    assert len(registry.client.search_runs(["0"])) == runs + 1
    code, output, errors = finish(project.start(*command, "-e", "rollback", "-P", "history=true"))
    assert code == 0, errors
    assert "0001" in output
    code, output, errors = finish(project.start(*door, "entrypoints.doctor"))
    assert code == 0, errors
    assert f"{NAME}  champion {champion}" in output
    assert not registry.client.search_runs(["0"], "attributes.status = 'RUNNING'")
