"""Small studies for tests, without a tracking store and without training."""

from pathlib import Path
from typing import Any

import optuna

from imagelab.settings import TuneSettings, validate
from imagelab.tuning.outage import Patience
from imagelab.tuning.storage import open_storage
from imagelab.tuning.study import Study
from imagelab.tuning.study_config import plan


def make_study(folder: Path, **given: Any) -> Study:
    settings = validate(TuneSettings, {"dataset": "digits", "model": "basic_ann", "epochs": 15, "n_trials": 4, **given})
    url = f"sqlite:///{folder / 'optuna.db'}"
    storage = open_storage(url, Patience(5), 60)
    optuna_study = optuna.create_study(study_name="s", storage=storage, directions=settings.directions)
    space, base, n_trials = plan(settings)
    return Study(settings, url, storage, optuna_study, space, base, n_trials)


def begin(study: Study, **attributes: Any) -> int:
    """Begin a trial; its id."""
    trial = study.storage.create_new_trial(study.storage.get_study_id_from_name(study.name))
    for name, value in attributes.items():
        study.storage.set_trial_user_attr(trial, name, value)
    return trial
