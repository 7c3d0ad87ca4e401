"""The search space: what is understood, and what is refused in one line."""

from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from imagelab.errors import SettingsError
from imagelab.settings import TrainSettings, TuneSettings, validate
from imagelab.tuning.samplers import grid_of
from imagelab.tuning.search_space import make_space, recipe_point
from imagelab.tuning.study_config import plan

BASE = TrainSettings(dataset="digits", model="basic_ann")


def test_every_form_is_understood() -> None:
    search = "learning_rate=log:1e-4:1e-2, dropout_rate=0:0.6, batch_size=32|64, epochs=2:10:2, augmentation=none|flip"
    assert make_space(search, BASE) == {
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "dropout_rate": FloatDistribution(0, 0.6),
        "batch_size": CategoricalDistribution((32, 64)),
        "epochs": IntDistribution(2, 10, step=2),
        "augmentation": CategoricalDistribution(("none", "flip")),
    }


def test_a_file_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("learning_rate: log:1e-4:1e-2\nbatch_size: [32, 64]\nseed_is_fixed: 1\n")
    with pytest.raises(SettingsError, match="seed_is_fixed"):
        make_space(str(path), BASE)
    path.write_text("learning_rate: log:1e-4:1e-2\nbatch_size: [32, 64]\nepochs: 2:4\n")
    assert make_space(str(path), BASE) == make_space("learning_rate=log:1e-4:1e-2,batch_size=32|64,epochs=2:4", BASE)


def test_without_a_search_learning_rate_and_dropout_are_varied_unless_given() -> None:
    assert set(make_space(None, BASE)) == {"learning_rate", "dropout_rate"}
    assert set(make_space(None, BASE.model_copy(update={"learning_rate": 0.01}))) == {"dropout_rate"}


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ("learning_rate", "is not name=values"),
        ("", "is not name=values"),
        ("learning_rat=0.1:0.2", "did you mean learning_rate"),
        ("learning_rate=0.1:0.2,learning_rate=0.1:0.3", "given twice"),
        ("learning_rate=0.2:0.1", "low < high"),
        ("learning_rate=0.1:0.1", "low < high"),
        ("learning_rate=log:0:1", "low above 0"),
        ("learning_rate=log:0.1:1:0.1", "no step"),
        ("learning_rate=0.1:0.2:0.3:0.4", "low < high"),
        ("learning_rate=0.1:0.2:0", "step above 0"),
        ("learning_rate=a:b", "low:high"),
        ("learning_rate=0.1", "low:high"),
        ("learning_rate=nan:1", "low < high"),
        ("learning_rate=0.1:11", "learning_rate=11.0: input should be less than or equal to 10"),
        ("dropout_rate=0:1", "less than 1"),
        ("batch_size=1.5:3", "whole numbers"),
        ("batch_size=a|b", "whole numbers"),
        ("batch_size=32|32", "different choices"),
        ("batch_size=0:64", "batch_size=0"),
        ("augmentation=0:1", "is no number"),
        ("augmentation=none|twist", "augmentation=twist"),
        ("model=basic_cnn|basic_cn", "did you mean basic_cnn"),
        ("head=linear|mlp", "has no such setting"),
        ("seed=0:5", "seed cannot be searched"),
        ("dataset=digits|cifar100", "dataset cannot be searched"),
        ("limit=100:200", "limit cannot be searched"),
        ("resume=a|b", "there is no setting named 'resume'"),
        ("nowhere.yaml", "cannot be read"),
    ],
)
def test_a_mistake_is_one_clear_line(search: str, says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        make_space(search, TrainSettings(dataset="digits") if "model" in search else BASE)
    assert says in str(raised.value)
    assert "search" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_fixed_is_not_searched() -> None:
    with pytest.raises(SettingsError, match=r"batch_size is also fixed to 16"):
        make_space("batch_size=32|64", BASE.model_copy(update={"batch_size": 16}))


@pytest.mark.parametrize(("text", "says"), [("- a", "name: values"), ("a: [", "is no YAML"), ("", "name: values")])
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=says):
        make_space(str(path), BASE)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sampler": "annealing"}, "sampler=annealing"),
        ({"pruner": "axe"}, "pruner=axe"),
        ({"objective": "test_accuracy"}, "test images are looked at once"),
        ({"objective": "val_acuracy"}, "did you mean val_accuracy"),
        ({"objective": "val_loss,val_loss"}, "twice"),
        ({"objective": "val_top_5_accuracy"}, "too few classes"),
        ({"objective": "val_accuracy,parameter_count", "pruner": "median"}, "cannot be ended early"),
        ({"objective": "val_accuracy,parameter_count", "sampler": "cmaes"}, "one objective only"),
        ({"storage": "mysql://here"}, "postgresql://"),
        ({"study": "a/b"}, "study=a/b"),
        ({"n_trials": 0}, "n_trials=0"),
        ({"timeout": 0}, "timeout=0"),
        ({"resume": "0" * 32}, "no setting named 'resume'"),
        ({"sampler": "grid"}, "needs choices (a|b|c) or a step"),
        ({"learning_rate": 0.1, "dropout_rate": 0.1}, "nothing is left to search"),
    ],
)
def test_wrong_settings_of_a_study_are_one_clear_line(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        plan(validate(TuneSettings, {"dataset": "digits", "model": "basic_ann", **given}))
    assert says in str(raised.value)


def test_a_grid_has_every_combination_once_and_the_recipe() -> None:
    search = "batch_size=32|64,epochs=2:6:2,dropout_rate=0:0.4:0.2"
    settings = validate(TuneSettings, {"dataset": "digits", "search": search, "sampler": "grid", "n_trials": 100})
    space, _, n_trials = plan(settings)
    grid = grid_of(space)
    assert grid["epochs"] == [2, 4, 6]
    assert grid["dropout_rate"] == pytest.approx([0, 0.2, 0.4])
    assert n_trials == 2 * 3 * 3 + 1


def test_the_recipe_lies_in_the_space_or_at_its_nearest_point() -> None:
    recipe = BASE.with_recipe()
    space = make_space("learning_rate=log:1e-4:1e-2,batch_size=64|128,epochs=2:20:5,dropout_rate=0:0.1", BASE)
    assert recipe_point(space, recipe) == {"learning_rate": 0.001, "batch_size": 64, "epochs": 17, "dropout_rate": 0.1}


@pytest.mark.parametrize(("model", "rate"), [("basic_ann", 0.2), ("deeper_cnn", 1 / 3), ("resnet50", 0.4)])
def test_the_rate_that_stands_for_a_networks_own_ones_is_their_mean(model: str, rate: float) -> None:
    given = TrainSettings(dataset="digits", model=model)
    space = make_space("dropout_rate=0:0.6", given)
    assert recipe_point(space, given.with_recipe())["dropout_rate"] == pytest.approx(rate)
