"""Which trial is begun next, after processes have died and trials were enqueued twice."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from imagelab.tracking import this_process
from imagelab.tuning.study import Study
from imagelab.tuning.trial_queue import reserve_trial
from imagelab.tuning.trial_states import enqueued, was_enqueued
from tests.tuning.studies import begin, make_study

DEAD = this_process() | {"pid": "999999999"}
POINT = {"learning_rate": 0.001, "dropout_rate": 0.1}


def states_of(study: Study) -> str:
    return " ".join(trial.state.name for trial in study.optuna_study.get_trials())


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Optuna's, where `tell` is asked without `optimize`
def test_trials_of_dead_processes_are_tried_again_and_doubled_ones_are_not(tmp_path: Path) -> None:
    study = make_study(tmp_path, n_trials=9)
    begin(study, process=this_process())
    begin(study, process=DEAD)
    begin(study)  # begun by a request that was repeated: no process knows of it
    twice = enqueued()
    for _ in range(2):
        study.optuna_study.enqueue_trial(POINT, twice)
    with reserve_trial(study, None) as reservation:
        assert reservation is not None
        assert reservation.is_held()
    assert states_of(study) == "RUNNING FAIL FAIL WAITING FAIL WAITING WAITING"
    assert [trial.number for trial in study.trials] == [0, 3, 5, 6]
    assert [trial.user_attrs.get("retry_of") for trial in study.trials] == [None, None, 1, 2]
    with reserve_trial(study, None):  # finds nothing more to do
        assert states_of(study) == "RUNNING FAIL FAIL WAITING FAIL WAITING WAITING"


def test_a_waiting_trial_of_a_study_of_before_is_begun_like_any_other(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    study.optuna_study.enqueue_trial(POINT, {"recipe": True, "in_line": True})
    study.optuna_study.enqueue_trial(POINT, {"in_line": True})
    with reserve_trial(study, None) as reservation:
        assert reservation is not None
    assert [(trial.state, was_enqueued(trial)) for trial in study.trials] == [(TrialState.WAITING, True)] * 2


def test_as_many_trials_are_begun_as_there_shall_be(tmp_path: Path) -> None:
    study = make_study(tmp_path, n_trials=2)
    for _ in range(2):
        begin(study, process=this_process())
    with reserve_trial(study, None) as reservation:
        assert reservation is None
