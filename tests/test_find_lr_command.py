"""`-e find_lr`: what it says and what its run holds; the same seed finds the same; interrupted; a frozen backbone."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from imagelab.errors import DivergedError, SettingsError
from imagelab.learning_rate_finder import suggest
from imagelab.settings import FindLrSettings, parse
from imagelab.training import Step
from tests.conftest import Project, finish, wait_until


def start(project: Project, *settings: str) -> "subprocess.Popen[str]":
    usual = {"dataset": "digits", "model": "basic_ann", "mixed_precision": "float32"}
    usual |= dict(setting.split("=", 1) for setting in settings)
    flags = [f"--{name}={value}" for name, value in usual.items()]
    return project.start(sys.executable, "-m", "entrypoints.find_lr", *flags)


def table_of(run: Any) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(Path(f"{run.info.artifact_uri}/learning_rates.csv").read_text()))


def test_a_search_says_what_to_train_with_and_is_found_again(project: Project) -> None:
    code, output, errors = finish(start(project, "steps=60", "optimizer=adamw", "note=mine"))
    assert code == 0, errors
    (run,) = project.runs()
    assert (run.info.status, run.data.tags["role"]) == ("FINISHED", "learning_rate_search")
    assert run.info.run_name == "learning rate search of basic_ann on digits"
    assert run.data.tags["mlflow.note.content"].startswith("mine\n\nThe loss fell fastest at")
    assert run.data.params["optimizer"] == json.loads(run.data.tags["settings"])["optimizer"] == "adamw"
    assert "learning_rate" not in run.data.params
    table = table_of(run)
    assert len(table) <= 60
    for name in ("loss", "learning_rate", "smoothed_loss"):
        points = project.history(run.info.run_id, name)
        assert [step for step, _ in points] == list(table["step"]), name
        assert [value for _, value in points] == pytest.approx(list(table[name]))
    assert table["learning_rate"].iloc[:2].to_list() == pytest.approx([1e-6, 1e-6 * 1e6 ** (1 / 59)])
    assert project.artifacts(run.info.run_id) >= {"figures/learning_rates.png", "model_summary.txt"}

    found = table["learning_rate"][10 + table["smoothed_loss"][10:].argmin()] / 10
    assert run.data.metrics["suggested_learning_rate"] == pytest.approx(found)
    command = output.splitlines()[-1].split(": ", 1)[1]
    rate = re.search(r"-P optimizer=adamw .*-P learning_rate=(\S+)$", command)
    assert rate and float(rate[1]) == pytest.approx(found, rel=0.05)

    code, _, errors = finish(start(project, "steps=60", "optimizer=adamw"))
    assert code == 0, errors
    (again,) = [each for each in project.runs() if each.info.run_id != run.info.run_id]
    pd.testing.assert_frame_equal(table, table_of(again), check_exact=True)
    assert not list((project.folder / "runs").iterdir())


def test_an_interrupted_search_is_killed(project: Project) -> None:
    process = start(project, "steps=10000")
    wait_until(lambda: project.runs() and "loss" in project.runs()[0].data.metrics, process=process)
    os.kill(process.pid, signal.SIGINT)
    code, output, errors = finish(process)
    assert (code, output) == (130, "")
    assert errors.splitlines()[-1] == "interrupted; the same command begins anew"
    assert [run.info.status for run in project.runs()] == ["KILLED"]


def test_the_head_of_a_frozen_backbone_is_looked_at(project: Project, mobilenet_weights: str, tmp_path: Path) -> None:
    settings = ("model=mobilenet_v2", f"weights={mobilenet_weights}", "image_size=32", "limit=200", "steps=50")
    code, output, errors = finish(start(project, *settings, "head=linear"))
    assert code == 0, errors
    assert f"-P weights={mobilenet_weights}" in output.splitlines()[-1]
    (run,) = project.runs()
    assert table_of(run)["smoothed_loss"].min() < 0.9 * table_of(run)["loss"][0]


def steps_of(*losses: float) -> list[Step]:
    return [Step(number, 10 ** (number - 40), loss, loss) for number, loss in enumerate(losses, 1)]


def test_both_rates_are_read_off_the_curve() -> None:
    found = suggest(steps_of(*[5.0] * 20, 4.9, 4.0, 3.9, 3.8, 3.9, 4.5, 6))
    assert (found.steepest, found.lowest, found.stable) == pytest.approx((1e-18, 1e-16, 1e-17))


@pytest.mark.parametrize("losses", [[], [3.0], [3.0] * 30, [3.0] * 11 + [4.0] * 5])
def test_nothing_is_suggested_where_the_loss_did_not_fall(losses: list[float]) -> None:
    with pytest.raises(DivergedError, match=r"did not fall|in the first batch"):
        suggest(steps_of(*losses))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("learning_rate=0.1", "learning_rate=0.1: has no effect on find_lr"),
        ("epochs=3", "epochs=3: has no effect on find_lr"),
        ("progressive=none", "progressive=none: has no effect on find_lr"),
        ("mix_off_epochs=3", "mix_off_epochs=3: has no effect on find_lr"),
        ("resume=" + "0" * 32, "there is no setting named 'resume'"),
        ("seeds=3", "there is no setting named 'seeds'"),
        ("highest=20", "highest=20: input should be less than or equal to 10"),
        ("lowest=0.5", "lowest=0.5 and highest=1: highest must be at least 10 times lowest"),
    ],
)
def test_settings_without_meaning_are_refused(setting: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(FindLrSettings, "find_lr", ["--dataset=digits", f"--{setting}"])
    assert said in str(error.value)


def test_help_does_not_offer_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(FindLrSettings, "find_lr", ["--help"])
    shown = capsys.readouterr().out
    assert "--batch_size" in shown and "--steps" in shown
    assert "--learning_rate" not in shown and "--epochs" not in shown
