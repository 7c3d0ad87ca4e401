"""Samplers and pruners by name, on a formula instead of a network."""

import optuna
import pytest

from imagelab.errors import SettingsError
from imagelab.settings import TrainSettings
from imagelab.tuning.samplers import make_pruner, make_sampler
from imagelab.tuning.search_space import make_space, suggest
from tests.conftest import needs

SPACE = make_space("learning_rate=log:1e-4:1e-2, dropout_rate=0:0.6, batch_size=32|64", TrainSettings(dataset="digits"))


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "cmaes"])
@pytest.mark.parametrize("pruner", ["hyperband", "median", "none"])
def test_every_sampler_goes_with_every_pruner(sampler: str, pruner: str) -> None:
    if sampler == "gp":
        needs("torch")

    def objective(trial: optuna.Trial) -> float:
        suggest(trial, SPACE)
        value = -((trial.params["learning_rate"] - 0.003) ** 2) - trial.params["dropout_rate"]
        for epoch in range(1, 10):
            trial.report(value * epoch, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(value)

    def session() -> list[dict[str, float]]:
        study = optuna.create_study(study_name="s", direction="maximize", pruner=make_pruner(pruner, 9))
        for number in range(12):  # as the workers do it: a sampler of its own for each trial
            study.sampler = make_sampler(sampler, SPACE, number)
            study.optimize(objective, n_trials=1)
        assert pruner != "none" or len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) == 12
        return [trial.params for trial in study.trials]

    first = session()
    assert len({params["learning_rate"] for params in first}) > 6  # gp may come back to an end of the space
    assert first == session()


def test_median_lets_every_trial_have_its_first_epoch() -> None:
    study = optuna.create_study(direction="maximize", pruner=make_pruner("median", 9))
    for _ in range(6):
        trial = study.ask()
        trial.report(1.0, 1)
        trial.report(1.0, 2)
        study.tell(trial, 1.0)
    hopeless = study.ask()
    hopeless.report(0.0, 1)
    assert not hopeless.should_prune()
    hopeless.report(0.0, 2)
    assert hopeless.should_prune()


def test_cmaes_refuses_a_space_without_numbers() -> None:
    space = make_space("batch_size=32|64", TrainSettings(dataset="digits"))
    with pytest.raises(SettingsError, match="only choices"):
        make_sampler("cmaes", space, 0)
