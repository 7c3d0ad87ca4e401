"""Replicates in this process: what is typed, what fails, what a name says."""

import os
from typing import Any

import keras
import pytest

from imagelab.errors import DivergedError, SettingsError
from imagelab.models import basic_ann
from imagelab.replication import replicate
from imagelab.settings import TrainSettings, name_of, parse
from tests.conftest import Project


@pytest.mark.parametrize(
    ("typed", "seeds"),
    [("3", [0, 1, 2]), ("2", [0, 1]), ("0, 1,2", [0, 1, 2]), ("7,5", [5, 7]), ("5,2147483647", None)],
)
def test_seeds_are_a_number_or_a_list(typed: str, seeds: list[int] | None) -> None:
    settings = parse(TrainSettings, "train", ["--seeds", typed])
    assert settings.seed_list == (seeds or [5, 2**31 - 1])
    assert settings.with_recipe().seed_list == settings.seed_list


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--seeds", "0"], "seeds=0: must be 2 to 100 seeds"),
        (["--seeds", "1"], "seeds=1: must be 2 to 100 seeds"),
        (["--seeds", "101"], "seeds=101: must be 2 to 100 seeds"),
        (["--seeds", "a,b"], "seeds=a,b: must be how many seeds (2 to 100), or the seeds, such as 0,1,2"),
        (["--seeds", "1,,2"], "seeds=1,,2: must be how many"),
        (["--seeds", ""], "seeds=: must be how many"),
        (["--seeds", "-1"], "seeds=-1: must be how many"),
        (["--seeds", "1,2147483648"], "must be how many"),
        (["--seeds", "1,2,1"], "seeds=1,2,1: names a seed twice"),
        (["--seeds", "2", "--seed", "0"], "seed=0: does not go with seeds=0,1"),
        (["--seeds", "2", "--resume", "0" * 32], f"resume={'0' * 32}: does not go with seeds=0,1"),
    ],
)
def test_what_is_no_list_of_seeds_is_refused(typed: list[str], said: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(TrainSettings, "train", typed)
    assert str(error.value).startswith(said) or said in str(error.value)


def test_the_settings_of_a_seed_are_those_of_one_training() -> None:
    several = TrainSettings(dataset="digits", epochs=2, seeds="2", note="mine")
    one = several.of_seed(1)
    assert one == TrainSettings(dataset="digits", epochs=2, seed=1, note="mine")
    assert "seeds" not in one.with_recipe().as_tag()
    assert "seeds" not in one.record()
    assert '"seed"' not in several.with_recipe().as_tag()
    assert several.of_seed(1).resuming("0" * 32).resume == "0" * 32


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "basic_cnn, fashion_mnist"),
        ({"learning_rate": 0.002, "note": "x", "upload_patience": 1}, "basic_cnn, fashion_mnist, lr 0.002"),
        ({"learning_rate": 0.003, "epochs": 12}, "basic_cnn, fashion_mnist"),  # the recipe's own
        ({"recipe": "best", "learning_rate": 0.002}, "basic_cnn, fashion_mnist, recipe best, lr 0.002"),
        ({"dataset": "digits", "seed": 2, "limit": 500}, "basic_cnn, digits, seed 2, limit 500"),
        ({"model": "vgg16", "head": "linear", "seeds": "3"}, "vgg16, fashion_mnist, head linear"),
    ],
)
def test_a_name_says_what_differs_from_the_recipe(given: dict[str, Any], name: str) -> None:
    assert name_of(TrainSettings(**given)) == name


def test_a_training_that_fails_fails_its_parent_and_the_same_command_tries_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network of the second seed is made to give NaN, once."""
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
    sound, built = basic_ann.build, []

    def build(*arguments: Any) -> keras.Model:
        built.append(arguments)
        network = sound(*arguments)
        if len(built) == 3:  # one is trained and one loaded with the best epoch, a seed
            network.set_weights([weights * float("nan") for weights in network.get_weights()])
        return network

    monkeypatch.setattr(basic_ann, "build", build)
    settings = TrainSettings(dataset="digits", model="basic_ann", epochs=1, seeds="2")
    with pytest.raises(DivergedError):
        replicate(settings)
    runs = {run.data.tags.get("seed", "parent"): run for run in project.runs()}
    assert {seed: run.info.status for seed, run in runs.items()} == {"parent": "FAILED", "0": "FINISHED", "1": "FAILED"}
    assert runs["parent"].data.tags["failure"].startswith("DivergedError: seed 1: the loss became NaN")
    assert "MLFLOW_RUN_ID" not in os.environ

    assert runs["parent"].info.run_id in replicate(settings)
    parent = project.client.get_run(runs["parent"].info.run_id)
    assert parent.info.status == "FINISHED"
    assert "failure" not in parent.data.tags
    assert [step for step, _ in project.history(parent.info.run_id, "test_accuracy")] == [0, 1]
    assert sum(run.info.status == "FAILED" for run in project.runs()) == 1  # as it was: another run has its seed now
