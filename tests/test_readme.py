"""The README keeps what it promises: its commands exist and its links lead somewhere."""

import re
import shlex

from imagelab.settings import (
    PredictSettings,
    PromoteSettings,
    RollbackSettings,
    ServeSettings,
    TrainSettings,
    TuneSettings,
    parse,
)
from imagelab.tuning.study import plan
from tests.conftest import ROOT
from tests.test_mlproject import ENTRY_POINTS

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split(" #")[0].strip()
    for block in re.findall(r"```(?:bash|sh)\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]


def test_the_first_screen_has_the_two_commands() -> None:
    first = "\n".join(README.splitlines()[:40])
    assert "make train" in first
    assert "make test" in first


def test_every_make_command_is_a_target() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert named
    assert named <= targets


def test_every_mlflow_run_command_would_be_accepted() -> None:
    commands = [shlex.split(command) for command in COMMANDS if command.startswith("mlflow run")]
    assert commands
    for words in commands:
        name = words[words.index("-e") + 1] if "-e" in words else "main"
        assert name in ENTRY_POINTS
        settings = [word for i, word in enumerate(words) if words[i - 1] == "-P" and not word.startswith("resume=")]
        flags = [part for setting in settings for part in ("-P", setting)]
        if name in ("main", "train"):
            parse(TrainSettings, name, flags)
        if name in ("promote", "rollback"):
            parse(PromoteSettings if name == "promote" else RollbackSettings, name, flags)
        if name == "predict":
            parse(PredictSettings, name, ["images=." if word.startswith("images=") else word for word in flags])
        if name == "serve":
            parse(ServeSettings, name, flags)
        if name == "tune":
            plan(parse(TuneSettings, name, flags))


def test_every_module_that_is_run_exists() -> None:
    for command in COMMANDS:
        if match := re.search(r"python -m ((?:benchmarks|entrypoints)\.\w+)", command):
            assert (ROOT / f"{match[1].replace('.', '/')}.py").exists(), command


def test_every_relative_link_and_picture_is_there() -> None:
    for target in re.findall(r"\]\((?!http|#)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_file_map_names_every_file_of_the_package() -> None:
    for path in (ROOT / "src" / "imagelab").iterdir():
        if path.name not in ("__init__.py", "__pycache__", "py.typed"):
            assert f"{path.name}" in README, path.name
