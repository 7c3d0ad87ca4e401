from itertools import product

import pytest

from imagelab.data import DATASETS
from imagelab.models import BACKBONES, MODELS
from imagelab.recipes import RECIPES, recommended
from imagelab.settings import TrainSettings
from imagelab.settings.train import OF_BACKBONES


@pytest.mark.parametrize(("dataset", "model"), product(DATASETS, MODELS))
def test_every_pair_has_a_recipe_of_valid_settings(dataset: str, model: str) -> None:
    assert model in BACKBONES or (dataset, model) in RECIPES
    complete = TrainSettings(dataset=dataset, model=model).with_recipe()
    recipe = recommended(dataset, model)
    assert {name: getattr(complete, name) for name in recipe} == recipe


def test_recipes_cover_every_setting_without_a_default() -> None:
    open_ended = {"limit", "data_dir", "resume"}
    without = {name for name, field in TrainSettings.model_fields.items() if field.default is None} - open_ended
    assert set(recommended("digits", "basic_ann")) == without - set(OF_BACKBONES)
    assert set(recommended("digits", "resnet50")) == without
    assert set(recommended("digits", "vit")) == without
