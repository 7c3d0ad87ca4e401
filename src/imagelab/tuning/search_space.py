"""The search space: which settings of a training vary, and between which values.

    learning_rate=log:1e-4:1e-2, dropout_rate=0:0.6, batch_size=64|128|256, epochs=5:20:5

A value is low:high, log:low:high, low:high:step or a|b|c, or the same in a YAML file (`name: value`, a choice also
as a list). Whole-number settings are searched in whole numbers; both ends and every choice must be allowed in `train`.
"""

from collections.abc import Mapping
from itertools import islice, product
from pathlib import Path
from statistics import mean
from typing import Any, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from imagelab.data import num_classes_of
from imagelab.errors import SettingsError
from imagelab.mlflow_command import from_folder_typed_in
from imagelab.models import dropout_rates
from imagelab.settings import ExperimentSettings, Kind, names_of_kind, validate
from imagelab.settings.command_line import did_you_mean, shortened
from imagelab.settings.starting_point import read_yaml

Space = dict[str, BaseDistribution]
DEFAULT = {"learning_rate": "log:1e-4:1e-2", "dropout_rate": "0:0.6"}
MOST_COMBINATIONS = 10_000  # of ends and choices that are looked at before the first trial
WHY_NOT = {  # settings of these kinds are not searched
    Kind.SPLIT: "trials are compared on the same images",
    Kind.CHANCE: "the best of several seeds is luck",
    Kind.RECIPE: "it only fills in what is not given",
    Kind.OPERATIONAL: "it changes no result",
}
NOT_SEARCHED = {name: why for kind, why in WHY_NOT.items() for name in names_of_kind(ExperimentSettings, kind)}


def make_space(search: str | None, base: ExperimentSettings) -> Space:
    """The distribution of each searched setting; without `search`, of learning rate and dropout rate.

    Args:
        base: what all trials have in common; what is fixed in it cannot be searched.

    Raises:
        SettingsError: in one line, naming the setting that is wrong.
    """
    fixed = base.given()
    entries = {n: v for n, v in DEFAULT.items() if n not in fixed} if search is None else read_entries(search)
    if not entries:
        raise SettingsError("search: nothing is left to search, since learning_rate and dropout_rate are both given")
    for name in entries:
        refuse(name, fixed)
    space = {name: make_distribution(name, value) for name, value in entries.items()}
    refuse_ends(space, base)
    return space


def refuse_ends(space: Space, base: ExperimentSettings) -> None:
    """Raise a SettingsError if an end or a choice is allowed together with none of the others'."""
    allowed: set[tuple[str, Any]] = set()
    wrong_with: dict[tuple[str, Any], SettingsError] = {}
    for values in islice(product(*map(ends_of, space.values())), MOST_COMBINATIONS):
        point = dict(zip(space, values, strict=True))
        try:
            validate(ExperimentSettings, {**base.model_dump(exclude_unset=True), **point}).with_recipe()
            allowed |= point.items()
        except SettingsError as error:
            for item in point.items():
                wrong_with.setdefault(item, error)
    for item, reason in wrong_with.items():
        if item not in allowed:
            raise SettingsError(f"search: {reason}")


def read_entries(search: str) -> dict[str, Any]:
    """Values by setting, from a YAML file where there is one of that name, else from the text itself."""
    if search.endswith((".yaml", ".yml")):
        path = from_folder_typed_in(Path(search))
        return read_yaml(path, f"search={path}")
    entries: dict[str, Any] = {}
    for part in search.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise SettingsError(f"search={shortened(search)}: {part.strip()!r} is not name=values")
        if name in entries:
            raise SettingsError(f"search={shortened(search)}: {name} is given twice")
        entries[name] = value
    return entries


def refuse(name: str, fixed: Mapping[str, Any]) -> None:
    if name in NOT_SEARCHED:
        raise SettingsError(f"search: {name} cannot be searched: {NOT_SEARCHED[name]}")
    if name not in ExperimentSettings.model_fields:
        raise SettingsError(
            f"search: there is no setting named {name!r}{did_you_mean(name, list(ExperimentSettings.model_fields))}"
        )
    if name in fixed:
        raise SettingsError(f"search: {name} is also fixed to {fixed[name]}; leave out one of the two")


def make_distribution(name: str, value: Any) -> BaseDistribution:
    """The distribution that one entry describes, by the type of the setting."""
    if isinstance(value, list) or "|" in str(value):
        choices = value if isinstance(value, list) else [choice.strip() for choice in str(value).split("|")]
        return choice_of(name, choices)
    words = str(value).split(":")
    log = words[0] == "log"
    kind = number_type(name)
    if kind is None:
        raise SettingsError(f"search: {name}={value}: is no number; give its values as a|b|c")
    try:
        low, high, *step = [kind(word) for word in words[log:]]
    except ValueError:
        raise wrong(name, value, f"low:high, log:low:high, low:high:step or a|b|c, of {TYPES[kind]}") from None
    if len(step) > 1 or (log and step) or not low < high or (log and low <= 0) or (step and step[0] <= 0):
        raise wrong(name, value, "low < high, a step above 0 if any, and with log: low above 0 and no step")
    if kind is int:
        return IntDistribution(int(low), int(high), log=log, step=int(step[0]) if step else 1)
    return FloatDistribution(low, high, log=log, step=step[0] if step else None)


TYPES = {int: "whole numbers", float: "numbers"}


def wrong(name: str, value: Any, expected: str) -> SettingsError:
    return SettingsError(f"search: {name}={shortened(value)}: must be {expected}")


def choice_of(name: str, choices: list[Any]) -> BaseDistribution:
    kind = number_type(name)
    try:
        converted = [kind(choice) if kind else str(choice) for choice in choices]
    except (ValueError, TypeError):
        raise wrong(name, "|".join(map(str, choices)), f"choices that are {TYPES[kind or float]}") from None
    if len(set(converted)) < len(converted) or not converted:
        raise wrong(name, "|".join(map(str, choices)), "one or more different choices")
    return CategoricalDistribution(converted)


def number_type(name: str) -> type[int] | type[float] | None:
    """int or float, where the setting is a number."""
    annotation = ExperimentSettings.model_fields[name].annotation
    kinds = {kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)}
    return next((kind for kind in (int, float) if kind in kinds), None)


def ends_of(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def suggest(trial: Trial, space: Space) -> None:
    """Let the study's sampler draw a value of each setting for this trial."""
    for name, distribution in space.items():
        if isinstance(distribution, CategoricalDistribution):
            trial.suggest_categorical(name, distribution.choices)
        elif isinstance(distribution, IntDistribution):
            trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
        elif isinstance(distribution, FloatDistribution):
            trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def most_epochs(space: Space, base: ExperimentSettings) -> int:
    """How many epochs a trial may have before fine-tuning begins."""
    return max(ends_of(space["epochs"])) if "epochs" in space else base.epochs or 1


def recipe_point(space: Space, base: ExperimentSettings) -> dict[str, Any]:
    """Where the recipe lies in the space, or the nearest point to it.

    For a network that keeps its own dropout rates their mean stands; the trial itself is trained with its own.
    """
    values = {name: getattr(base, name) for name in space}
    if values.get("dropout_rate", 0) is None:
        values["dropout_rate"] = mean(dropout_rates(base.model, num_classes_of(base.dataset), base.head))
    return {name: nearest(distribution, values[name]) for name, distribution in space.items()}


def nearest(distribution: BaseDistribution, value: Any) -> Any:
    """The value of the space that is nearest to `value`; the first choice, or the low end, where it is none of them."""
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices else distribution.choices[0]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    inside = distribution.low if value is None else min(max(value, distribution.low), distribution.high)
    if distribution.step and not distribution.log:
        steps = round((inside - distribution.low) / distribution.step)
        inside = min(distribution.low + steps * distribution.step, distribution.high)
    return inside
