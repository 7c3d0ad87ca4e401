"""Which runs are compared: what filters find, what is left out and why, which configurations are the best."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from imagelab.comparison.pairs import compare_pairs
from imagelab.comparison.results import Results, fetch_results
from imagelab.comparison.selection import Selection, select
from imagelab.comparison.table import differing_settings, frame_of, labelled, markdown, rows_to_read
from imagelab.comparison.training import LeftOut
from imagelab.errors import SettingsError
from imagelab.settings import CompareSettings, configuration_key, parse, validate
from imagelab.tables import rendered
from tests.comparison.made_runs import answers_of, make_run


@pytest.fixture
def make(client: Any, tmp_path: Path) -> Any:
    return partial(make_run, client, tmp_path, answers=False)


def selected(client: Any, **settings: Any) -> Selection:
    return select(client, validate(CompareSettings, settings))


def ids(selection: Selection) -> list[set[str]]:
    return [{training.run_id for training in each.trainings} for each in selection.configurations]


def test_the_best_configuration_of_each_model_is_chosen_by_validation_with_all_its_seeds(
    client: Any, make: Any
) -> None:
    good = {make(0.5, {"seed": seed}, val_accuracy=0.8 + seed / 100) for seed in range(3)}
    make(0.9, {"learning_rate": 0.01}, val_accuracy=0.7)  # better on the test images, which choose nothing
    other = make(0.6, {"model": "basic_cnn"})
    found = selected(client)
    assert ids(found) == [good, {other}]
    assert (found.not_shown, found.left_out, found.runs) == (1, [], 4)
    assert len(selected(client, best=2).configurations) == 3
    assert len(selected(client, all=True).configurations) == 3


def test_what_cannot_be_compared_is_left_out_by_name_with_the_reason(client: Any, make: Any) -> None:
    good, cnn = make(0.9), make(0.8, {"model": "basic_cnn"})
    reasons = {
        make(0.9, {"seed": 1}, status="KILLED"): "is KILLED, not FINISHED",
        make(0.9, {"seed": 2}, metrics={"test_accuracy": None}): "has no test_accuracy",
        make(0.9, {"seed": 3}, tags={"dataset_digest": "f" * 64}): "its data set digits is another one",
        make(0.9, {"seed": 4}, tags={"role": None, "settings": None}): "has no tag settings",
        make(0.9, {"seed": 5}, tags={"settings": "{"}): "cannot be read (Expecting",
        make(0.99, {"limit": 100}): "was trained on 100 images only",
        good: "has the same settings and seed and is newer",
    }
    again = make(0.85)
    make(0.9, tags={"role": "trial"})  # no training of its own: not even left out
    make(0.9, tags={"role": None, "settings": None, "trial_number": "3"})
    found = selected(client)
    assert sorted(map(sorted, ids(found))) == sorted([[again], [cnn]])
    assert {each.run_id for each in found.left_out} == set(reasons)
    for each in found.left_out:
        assert reasons[each.run_id] in str(each)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("[]", "it has no names"),
        ('{"dataset": "digits"}', "it lacks model"),
        ('{"dataset": null, "model": "basic_ann"}', "dataset is null"),
        ('{"dataset": ["digits"], "model": "basic_ann"}', 'dataset is ["digits"]'),
        ('{"dataset": "digits", "model": "basic_ann", "seed": "abc"}', 'seed is "abc"'),
        ('{"dataset": "digits", "model": "basic_ann", "seed": null}', "seed is null"),
        ('{"dataset": "digits", "model": "basic_ann", "limit": "9"}', 'limit is "9"'),
        ('{"dataset": "digits", "model": "vgg16", "weights": 5}', "weights is 5"),
        ('{"dataset": "digits", "model": "vgg16", "epochs": {}}', "epochs is {}"),
        ('{"dataset": "digits", "model": "ensemble"}', "it lacks runs, weights, limit"),
    ],
)
def test_a_run_with_damaged_settings_is_left_out_by_name_and_stops_nothing(
    client: Any, make: Any, settings: str, reason: str
) -> None:
    good, damaged = make(0.9), make(0.9, {"seed": 1}, tags={"settings": settings})
    found = selected(client)
    assert ids(found) == [{good}]
    [left_out] = found.left_out
    assert left_out.run_id == damaged
    assert left_out.reason == f"has a tag settings that cannot be read ({reason})"


def test_answers_that_cannot_be_read_are_said_in_one_line(client: Any, make: Any, tmp_path: Path) -> None:
    run_id, path = make(0.9), tmp_path / "predictions.parquet"
    pd.DataFrame({"label": [0], "correct": [True]}).to_parquet(path)
    client.log_artifact(run_id, str(path), "evaluation")
    [said] = fetch_results(client, selected(client).configurations).missing
    assert said.startswith(f"run {run_id}: evaluation/predictions.parquet is not used (")
    assert "class" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("correct", [None, *[True] * 359], "it has no rows, or empty places"),
        ("label", ["0"] * 360, "its columns have other types"),
        ("correct", [True] * 360, "what it calls correct is not where label and prediction are the same"),
        (None, answers_of(0.5, seed=0), "its answers are not as often right as test_accuracy says"),
    ],
)
def test_answers_that_cannot_be_true_are_not_used(
    client: Any, make: Any, tmp_path: Path, column: str | None, values: Any, reason: str
) -> None:
    run_id, path = make(0.9), tmp_path / "predictions.parquet"
    answers = answers_of(0.9, seed=0).assign(**{column: values}) if column else values
    answers.to_parquet(path)
    client.log_artifact(run_id, str(path), "evaluation")
    results = fetch_results(client, selected(client).configurations)
    assert results.missing == [f"run {run_id}: evaluation/predictions.parquet is not used ({reason})"]
    assert results.predictions == {}


def test_names_cannot_steer_a_terminal_or_break_a_line() -> None:
    left_out = LeftOut("a" * 32, "\x1b[2J\nfine" + "x" * 3000, "is KILLED")
    assert str(left_out).startswith(f"run {'a' * 32} (\\x1b[2J\\nfinexxx")
    assert len(str(left_out)) < 200
    row = {"model": "a[final].h5 x[/b] :smile: \x1b[2J"}
    assert "a[final].h5 x[/b] :smile: \\x1b[2J" in rendered([row], folded=())
    assert markdown([{"model": "# a\n# b|c"}]).splitlines()[2:] == ["| # a\\n# b\\|c |"]


def test_filters(client: Any, make: Any) -> None:
    parent = "a" * 32
    below = make(0.9, tags={"mlflow.parentRunId": parent})
    of_study = make(0.8, {"model": "basic_cnn"}, tags={"study": "it's"})
    tagged = make(0.7, {"model": "deeper_cnn"}, tags={"team": "a=b"})
    assert ids(selected(client, parent=parent)) == [{below}]
    assert ids(selected(client, study="it's")) == [{of_study}]
    assert ids(selected(client, tag="team=a=b")) == [{tagged}]
    assert ids(selected(client, model="basic_cnn,deeper_cnn")) == [{of_study}, {tagged}]
    assert ids(selected(client, experiment="Default", dataset="digits,cifar100", model="basic_ann")) == [{below}]
    named = selected(client, runs=f"{below},{of_study}", model="basic_ann")
    assert ids(named) == [{below}]
    assert [str(each.reason) for each in named.left_out] == ["is one with model=basic_cnn"]
    for wrong, says in (
        ({"experiment": "none"}, "it has: Default"),
        ({"runs": "b" * 32}, "no such run"),
        ({"model": "vgg16"}, "nothing to compare"),
        ({"runs": of_study, "model": "vgg16"}, "nothing to compare: run .* is one with model=basic_cnn"),
    ):
        with pytest.raises(SettingsError, match=says):
            selected(client, **wrong)


def test_runs_that_differ_by_the_seed_alone_are_compared_with_each_other(client: Any, make: Any) -> None:
    runs = [make(0.9, {"seed": seed}) for seed in (3, 4)]
    found = labelled(selected(client, runs=",".join(runs)).configurations)
    assert {each.label for each in found} == {"basic_ann, seed 3", "basic_ann, seed 4"}
    assert ids(selected(client)) == [set(runs)]  # not named: one configuration with its mean and spread


def test_only_settings_that_differ_are_shown(client: Any, make: Any) -> None:
    make(0.9, {"learning_rate": 1e-3, "epochs": 7})
    make(0.8, {"learning_rate": 0.01, "epochs": 7})
    found = labelled(selected(client, all=True).configurations)
    assert [each.label for each in found] == ["basic_ann, learning_rate 0.001", "basic_ann, learning_rate 0.01"]
    table = frame_of(found, {})
    assert "epochs" not in table
    assert list(table["learning_rate"]) == [0.001, 0.01]


def test_what_an_ensemble_does_not_have_is_no_difference() -> None:
    one, other = {"model": "basic_ann", "epochs": 3, "seed": 0}, {"model": "basic_cnn", "epochs": 3, "seed": 0}
    every: list[Any] = [SimpleNamespace(settings=each) for each in (one, other, {"model": "ensemble", "runs": "a,b"})]
    assert differing_settings(every) == []
    every[1].settings["epochs"] = 4
    assert differing_settings(every) == ["epochs"]


def test_an_ensemble_has_no_seed_and_its_weights_are_not_those_of_a_backbone(client: Any, make: Any) -> None:
    def ensemble(weights: str) -> dict[str, str]:
        record = {"runs": "a,b", "weights": weights, "split_seed": 0, "validation_fraction": 0.1, "limit": None}
        named = {"dataset": "digits", "model": "ensemble"}
        return {"model": "ensemble", "settings": json.dumps({**named, **record})}

    for seed in (0, 1):
        make(0.7, {"model": "resnet50", "weights": "imagenet", "seed": seed})
    make(0.9, tags=ensemble("equal"))
    first, second = rows_to_read(labelled(selected(client).configurations), {})
    assert (first["model"], first["seeds"], second["seeds"]) == ("ensemble", "", "0, 1")
    assert "settings that differ" not in first
    make(0.8, tags=ensemble("validation"))
    compared = labelled(selected(client, all=True).configurations)
    assert [each.label for each in compared[:2]] == [f"ensemble, member_weights {w}" for w in ("equal", "validation")]
    assert all(pair.over_seeds is None for pair in compare_pairs(compared, Results()))
    table = frame_of(compared, {})
    assert (list(table["seeds"]), list(table["seed_of_each"])) == ([0, 0, 2], ["", "", "0 1"])
    assert "weights" not in table


def test_settings_that_differ_late_have_different_labels(client: Any, make: Any) -> None:
    rates = (0.0012345678, 0.0012345679)
    for rate in rates:
        make(0.9, {"learning_rate": rate})
    found = labelled(selected(client, all=True).configurations)
    assert {each.label for each in found} == {f"basic_ann, learning_rate {rate}" for rate in rates}


def test_weights_of_one_file_name_in_two_folders_have_different_labels(client: Any, make: Any, tmp_path: Path) -> None:
    files = [tmp_path / folder / "w.weights.h5" for folder in "ab"]
    for file in files:
        file.parent.mkdir()
        file.touch()
    runs = [make(0.9, {"model": "resnet50", "weights": str(file)}) for file in files]
    found = labelled(selected(client, all=True).configurations)
    assert {each.label for each in found} == {f"resnet50, weights w.weights.h5, run {run[:8]}" for run in runs}


def test_a_configuration_is_everything_but_the_seed() -> None:
    one = {"model": "basic_ann", "seed": 1, "learning_rate": 1e-3, "split_seed": 0}
    assert configuration_key(one) == configuration_key({"seed": 2, "split_seed": 0, **one, "learning_rate": 0.001})
    assert configuration_key(one) != configuration_key({**one, "split_seed": 1})
    assert configuration_key(one) == configuration_key({**one, "limit": None})  # a setting that is younger than the run
    assert configuration_key(one) == configuration_key({**one, "optimizer": "adam", "mixup": 0.0})
    assert configuration_key(one) == configuration_key({**one, "teacher": None, "distillation_weight": None})
    assert configuration_key(one) != configuration_key({**one, "teacher": "models:/m-1"})
    assert configuration_key(one) != configuration_key({**one, "optimizer": "sgd"})
    shifted = {**one, "augmentation": "flip_shift"}  # as it was called before
    assert configuration_key(shifted) == configuration_key({**one, "augmentation": "flip+shift"})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "basic_an"], "model=basic_an: must be among basic_ann"),
        (["--best", "0"], "best=0"),
        (["--best", "2", "--all", "true"], "best=2 and all=true: give one of them"),
        (["--runs", "abc"], "runs=abc: must be an MLflow run id"),
        (["--tag", "team"], "tag=team: must be NAME=VALUE"),
        (["--study", "\"'"], "both kinds of quotation marks"),
        (["--output", "no/such/folder"], "must be a folder"),
        (["--output", ""], "must be the path of a folder"),
    ],
)
def test_a_wrong_setting_is_one_line_that_helps(arguments: list[str], says: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(CompareSettings, "compare", arguments)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
