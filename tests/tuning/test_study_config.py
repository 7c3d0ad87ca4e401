from imagelab.settings import TuneSettings, validate
from imagelab.tuning.study_config import description_of, plan, way_back


def config_of(**given: object) -> tuple[TuneSettings, dict[str, object]]:
    settings = validate(TuneSettings, given)
    space, base, _ = plan(settings)
    return settings, description_of(settings, space, base)


def test_a_study_with_another_recipe_or_split_says_how_to_go_on() -> None:
    settings, ours = config_of()
    _, best = config_of(recipe="best")
    assert ours != best
    assert way_back(settings, best) == "go on with it by -P recipe=best, or "
    _, other_split = config_of(split_seed=3)
    assert way_back(settings, other_split) == "go on with it by -P split_seed=3, or "
    _, another = config_of(epochs=2)
    assert way_back(settings, another) == ""
