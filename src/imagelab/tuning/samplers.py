"""What proposes settings, and what ends hopeless trials early: Optuna's samplers and pruners by name."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    RandomSampler,
    TPESampler,
)

from imagelab.errors import SettingsError
from imagelab.tuning.search_space import Space

STARTUP_TRIALS = 5  # random ones before a sampler learns; Optuna's 10 are many for a study of 30


def make_sampler(name: str, space: Space, seed: int) -> BaseSampler:
    """The sampler `name`; one of the same seed proposes the same.

    Raises:
        SettingsError: it cannot be used with this space, or on this machine.
    """
    if name == "gp" and importlib.util.find_spec("torch") is None:
        raise SettingsError("sampler=gp: needs PyTorch, which is not installed; install it by: make extras")
    if name == "cmaes" and all(isinstance(d, CategoricalDistribution) for d in space.values()):
        raise SettingsError("sampler=cmaes: searches numbers, and there are only choices (a|b|c) here")
    if name == "grid":
        grid_of(space)
    makers: dict[str, Callable[[], BaseSampler]] = {
        "tpe": partial(TPESampler, n_startup_trials=STARTUP_TRIALS, seed=seed),
        "gp": partial(GPSampler, n_startup_trials=STARTUP_TRIALS, seed=seed, deterministic_objective=False),
        "random": partial(RandomSampler, seed=seed),
        "grid": partial(RandomSampler, seed=seed),  # never asked: each combination is enqueued
        "cmaes": partial(CmaEsSampler, n_startup_trials=1, seed=seed, warn_independent_sampling=False),
    }
    return makers[name]()


def make_pruner(name: str, epochs: int) -> BasePruner:
    """The pruner `name`, which compares trials epoch by epoch; median lets each have its first one."""
    makers: dict[str, Callable[[], BasePruner]] = {
        "hyperband": partial(HyperbandPruner, min_resource=1, max_resource=epochs, reduction_factor=3),
        "median": partial(MedianPruner, n_startup_trials=4, n_warmup_steps=2),
        "none": NopPruner,
    }
    return makers[name]()


def grid_of(space: Space) -> dict[str, list[Any]]:
    """Every value of each setting, for a sampler that tries all combinations.

    Raises:
        SettingsError: a setting has no steps.
    """
    grid: dict[str, list[Any]] = {}
    for name, distribution in space.items():
        if isinstance(distribution, CategoricalDistribution):
            grid[name] = list(distribution.choices)
        elif (isinstance(distribution, IntDistribution) and not distribution.log) or (
            isinstance(distribution, FloatDistribution) and distribution.step
        ):
            step = distribution.step or 1
            count = int(round((distribution.high - distribution.low) / step, 6)) + 1
            grid[name] = [min(distribution.low + i * step, distribution.high) for i in range(count)]
        else:
            raise SettingsError(f"sampler=grid: {name} needs choices (a|b|c) or a step (low:high:step)")
    return grid


def combinations(space: Space) -> Iterator[dict[str, Any]]:
    """Every point of a space of choices and steps, in order."""
    grid = grid_of(space)
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))
