from itertools import product

from imagelab.data import DATASETS
from imagelab.models import MODELS
from imagelab.recipes import RECIPES, recommended
from imagelab.settings import TrainSettings


def test_every_pair_has_a_recipe_of_valid_settings() -> None:
    assert set(RECIPES) == set(product(DATASETS, MODELS))
    for dataset, model in RECIPES:
        complete = TrainSettings(dataset=dataset, model=model).with_recipe()
        recipe = recommended(dataset, model)
        assert {name: getattr(complete, name) for name in recipe} == recipe


def test_recipes_cover_every_setting_without_a_default() -> None:
    open_ended = {"limit", "data_dir", "resume"}
    without = {name for name, field in TrainSettings.model_fields.items() if field.default is None}
    assert set(recommended("digits", "basic_ann")) == without - open_ended
