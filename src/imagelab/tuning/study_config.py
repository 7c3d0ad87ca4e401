"""What all trials of a study have in common: planned from the settings, kept with the study, and compared with it."""

import json
from itertools import islice
from typing import Any

import optuna
from optuna.distributions import distribution_to_json

from imagelab.errors import SettingsError
from imagelab.recipes import STRENGTHS
from imagelab.settings import ExperimentSettings, Kind, TuneSettings, names_of_kind, of_record, validate
from imagelab.tracking import without_password
from imagelab.tuning.samplers import combinations, make_sampler
from imagelab.tuning.search_space import Space, make_space

STUDY_CONFIG_KEY = "imagelab"  # the study's attribute that says what its trials have in common


def plan(settings: TuneSettings) -> tuple[Space, ExperimentSettings, int]:
    """Search space, what all trials have in common, and how many there shall be; asks no database.

    Raises:
        SettingsError: in one line, whatever is wrong with them.
    """
    given = settings.of_training()
    base = given.with_recipe()
    space = make_space(settings.search, given)
    make_sampler(settings.sampler, space, 0)
    if settings.sampler != "grid":
        return space, base, settings.n_trials
    count = 1 + sum(1 for _ in islice(combinations(space), settings.n_trials))  # the recipe, and each combination
    return space, base, min(settings.n_trials, count)


def description_of(settings: TuneSettings, space: Space, base: ExperimentSettings) -> dict[str, Any]:
    """All that trials must have in common to be compared."""
    ours = base.model_dump(mode="json", exclude=set(names_of_kind(type(base), Kind.OPERATIONAL, Kind.RECIPE)))
    searched = {name: distribution_to_json(distribution) for name, distribution in sorted(space.items())}
    return {"objective": settings.objective, "search": searched, **ours}


def refuse_another(study: optuna.Study, settings: TuneSettings, description: dict[str, Any], url: str) -> None:
    """Accept a study only if it is this one; one that is empty becomes it."""
    other = "name another one by -P study=NAME"
    directions = [direction.name.lower() for direction in study.directions]
    if directions != settings.directions:
        raise SettingsError(
            f"study={study.study_name}: exists in {without_password(url)} to {' and '.join(directions)}, "
            f"while objective={settings.objective} is to {' and '.join(settings.directions)}; {other}"
        )
    known = study.user_attrs.get(STUDY_CONFIG_KEY)
    if known is None:
        if study.get_trials(deepcopy=False):
            raise SettingsError(
                f"study={study.study_name}: exists in {without_password(url)}, made by another program; {other}"
            )
        study.set_user_attr(STUDY_CONFIG_KEY, description)
        return
    known = of_record(known)
    for name in sorted(description.keys() | known.keys()):
        if known.get(name) != description.get(name):
            was, now = described(known.get(name)), described(description.get(name))
            way = f"{way_back(settings, known)}{other}"
            raise SettingsError(f"study={study.study_name}: exists with {name}={was}, not {now}; {way}")


def way_back(settings: TuneSettings, known: dict[str, Any]) -> str:
    """With which settings the same command goes on with a study, if it needs only another recipe or `split_seed`."""
    for recipe in dict.fromkeys((settings.recipe, *STRENGTHS)):
        change = {"recipe": recipe, "split_seed": known["split_seed"]}
        other = settings.model_copy(update=change)
        space, base, _ = plan(validate(TuneSettings, other.model_dump(exclude_unset=True) | change))
        if description_of(other, space, base) == known:
            wanted = {name: value for name, value in change.items() if getattr(settings, name) != value}
            return f"go on with it by {' '.join(f'-P {name}={value}' for name, value in wanted.items())}, or "
    return ""


def described(value: Any) -> str:
    """A value of the description as one reads it."""
    if not isinstance(value, dict):
        return str(value)
    words = []
    for name, text in value.items():
        attributes = json.loads(text)["attributes"]
        step = [attributes["step"]] if attributes.get("step") not in (None, 1) else []
        ends = attributes.get("choices") or [attributes["low"], attributes["high"], *step]
        log, between = "log:" * bool(attributes.get("log")), "|" if "choices" in attributes else ":"
        words.append(f"{name}={log}{between.join(map(str, ends))}")
    return ", ".join(words)
