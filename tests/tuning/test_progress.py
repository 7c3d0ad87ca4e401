"""What a person sees of a study whose output is no terminal: never a minute of silence."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from imagelab.tuning.progress import StudyProgress
from tests.tuning.studies import begin, make_study


class Watch:
    """A clock to set."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_line_a_finished_trial_and_every_half_minute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, watch = make_study(tmp_path), Watch()
    with StudyProgress(study, watch) as progress:
        first, second = begin(study), begin(study)
        study.storage.set_trial_intermediate_value(first, 3, 0.5)
        study.storage.set_trial_user_attr(second, "epoch", 2)
        for watch.seconds in (29.0, 31.0, 32.0, 60.0):
            progress.update()
        study.storage.set_trial_state_values(first, TrialState.COMPLETE, [0.5])
        for watch.seconds in (60.5, 90.0, 91.0):
            progress.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "0/4 trials done  ? left  running: trial 0 epoch 3/15, trial 1 epoch 2/15"
    assert lines[1].startswith("trial 0: val_accuracy 50.00%; ")
    assert lines[2:] == ["1/4 trials done  5 min left  running: trial 1 epoch 2/15"]


@pytest.mark.parametrize(("running", "says"), [(0, "workers are starting"), (10, "trial 7 epoch 0/15 and 2 more")])
def test_how_many_trials_run_elsewhere_does_not_matter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], running: int, says: str
) -> None:
    study, watch = make_study(tmp_path), Watch()
    with StudyProgress(study, watch) as progress:
        for _ in range(running):
            begin(study)
        watch.seconds = 31.0
        progress.update()
    assert capsys.readouterr().err.strip().endswith(says)
