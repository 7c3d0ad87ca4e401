from itertools import product

import pytest

from imagelab.data import DATASETS
from imagelab.models import BACKBONES, MODELS
from imagelab.recipes import BACKBONE, STANDARD, STRENGTHS, recommended
from imagelab.settings import ExperimentSettings, Kind, names_of_kind
from imagelab.settings.command_line import parse

PLACES = {place for table in (STANDARD, *STRENGTHS.values()) for place in table}


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize(("dataset", "model"), [*product(DATASETS, MODELS)])
def test_every_pair_has_a_recipe_of_valid_settings(dataset: str, model: str, strength: str) -> None:
    complete = ExperimentSettings(dataset=dataset, model=model, recipe=strength).with_recipe()
    recipe = recommended(dataset, model, strength)
    assert {name: getattr(complete, name) for name in recipe} == recipe


def test_recipes_cover_every_setting_without_a_default() -> None:
    open_ended = {"limit", "data_dir", "time_limit", "like", "settings"}
    fields = ExperimentSettings.model_fields
    without = {name for name, field in fields.items() if field.default is None} - open_ended
    of_backbones = set(names_of_kind(ExperimentSettings, Kind.BACKBONE))
    for strength in STRENGTHS:
        assert set(recommended("digits", "basic_ann", strength)) == without - of_backbones
        assert set(recommended("digits", "resnet50", strength)) == without
        assert set(recommended("digits", "vit", strength)) == without


def test_every_place_of_the_tables_is_known() -> None:
    for dataset, model in PLACES:
        assert dataset in {"any", *DATASETS}
        assert model in {"any", BACKBONE, *MODELS}


def test_the_strengths_are_what_the_setting_takes() -> None:
    for strength in STRENGTHS:
        assert parse(ExperimentSettings, "train", [f"--recipe={strength}"]).recipe == strength


def test_a_more_special_place_wins_and_a_flag_wins_over_all() -> None:
    assert recommended("cifar100", "vit")["weights"] == "none"
    assert recommended("cifar100", "resnet50")["weights"] == "imagenet"
    assert recommended("digits", "basic_ann", "quick")["epochs"] < recommended("digits", "basic_ann")["epochs"]
    assert all("weights" not in recommended("digits", model) for model in set(MODELS) - set(BACKBONES))
    given = ExperimentSettings(model="basic_ann", recipe="quick", epochs=7).with_recipe()
    assert given.epochs == 7
