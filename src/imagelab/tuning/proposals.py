"""What proposes settings, and what ends hopeless trials early: Optuna's samplers and pruners by name."""

import importlib.util
from collections.abc import Callable
from functools import partial

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    RandomSampler,
    TPESampler,
)

from imagelab.errors import SettingsError
from imagelab.tuning.space import Space, grid_of

STARTUP_TRIALS = 8  # random ones before a sampler learns; Optuna's 10 are many for sessions of 30


def make_sampler(name: str, space: Space, seed: int) -> BaseSampler:
    """The sampler `name`; one of the same seed proposes the same.

    Raises:
        SettingsError: it cannot be used with this space, or on this machine.
    """
    if name == "gp" and importlib.util.find_spec("torch") is None:
        raise SettingsError("sampler=gp: needs PyTorch, which is not installed; install it by: pip install torch")
    if name == "grid":
        return GridSampler(grid_of(space), seed)
    makers: dict[str, Callable[[], BaseSampler]] = {
        "tpe": partial(TPESampler, n_startup_trials=STARTUP_TRIALS, seed=seed),
        "gp": partial(GPSampler, n_startup_trials=STARTUP_TRIALS, seed=seed, deterministic_objective=False),
        "random": partial(RandomSampler, seed=seed),
        "cmaes": partial(CmaEsSampler, n_startup_trials=1, seed=seed, warn_independent_sampling=False),
    }
    return makers[name]()


def make_pruner(name: str, epochs: int) -> BasePruner:
    """The pruner `name`, which compares trials epoch by epoch."""
    makers: dict[str, Callable[[], BasePruner]] = {
        "hyperband": partial(HyperbandPruner, min_resource=1, max_resource=epochs, reduction_factor=3),
        "median": partial(MedianPruner, n_startup_trials=4, n_warmup_steps=1),
        "none": NopPruner,
    }
    return makers[name]()


def most_trials(sampler: str, space: Space) -> int | None:
    """How many trials there are at most: all combinations of a grid, and the recipe."""
    if sampler != "grid":
        return None
    count = 1
    for values in grid_of(space).values():
        count *= len(values)
    return count + 1
