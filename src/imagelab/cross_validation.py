"""The command `cross_validate`: one training a fold of the training images, each scored on the fold it has not seen.

The epoch of each is chosen by the images that are in no fold, so nothing of a training depends on the fold that it is
scored on.
"""

from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from imagelab.console import command_line, say
from imagelab.data.dataset import Dataset
from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation_report import evaluation_of, report_summary
from imagelab.fit_from_settings import load_fitter
from imagelab.label_audit import AUDITED, report_audit
from imagelab.reporting import OUT_OF_FOLD, title_of
from imagelab.settings import CrossValidateSettings, name_of
from imagelab.tracking import (
    Run,
    failure_noted,
    log_description,
    log_split,
    repeatable_parent,
    request,
    use_tracking_store,
)
from imagelab.training import Fitter
from imagelab.training_series import (
    FinishedTraining,
    PlannedTraining,
    TrainingSeries,
    last_end,
    log_spread,
    spread_in_words,
    start_of_names,
)

if TYPE_CHECKING:
    from imagelab.tracking import Client

PHASE = "cross_validation"
SHOWN = {"fold_accuracy": "accuracy", "test_accuracy": "test accuracy"}


def cross_validate(settings: CrossValidateSettings) -> str:
    """Train once a fold; go on with what an earlier command of the same settings has begun.

    Raises:
        ImagelabError: with the reason; the parent run, and the one of that fold, are then FAILED.
        Interrupted: on Ctrl-C or SIGTERM; both are then KILLED, and the same command goes on.
    """
    complete, client = settings.with_recipe(), use_tracking_store()
    with failure_noted(client, "parent"):
        whole = load_fitter(complete)
        replace(whole.split, fold=0).fold_indices(whole.dataset.train.labels)  # so many folds are refused before a run
    identity = {"phase": PHASE, "settings": complete.as_tag(), "dataset_digest": whole.dataset.digest}
    lacking = AUDITED if settings.audit else ""
    with repeatable_parent(client, parent_name(settings), identity, complete.record(), lacking) as parent:
        log_split(parent, whole.split)
        say(f"run {parent.run_id}: {'going on with' if parent.resumed else 'training'} {settings.folds} folds")
        trainings = planned(settings, parent)
        series = TrainingSeries(parent, trainings, lambda each: fold_of(whole, int(each.tags["fold"])), shown=SHOWN)
        parent.conclusion = report(parent, whole, series.run(), settings)
    return parent.conclusion


def fold_of(whole: Fitter, fold: int) -> Fitter:
    """What trains without the images of a fold; all folds share the data set and the features of frozen backbones."""
    return replace(whole, split=replace(whole.split, fold=fold))


def parent_name(settings: CrossValidateSettings) -> str:
    return f"{name_of(settings)}, {settings.folds} folds"


def planned(settings: CrossValidateSettings, parent: Run) -> list[PlannedTraining]:
    name = start_of_names(parent, settings, parent_name(settings))
    training = settings.of_training()
    return [
        PlannedTraining(training, f"fold {fold}", {"fold": str(fold)}, f"{name}, fold {fold}")
        for fold in range(settings.folds)
    ]


def report(parent: Run, whole: Fitter, folds: list[FinishedTraining], settings: CrossValidateSettings) -> str:
    """Log the figures of the folds, and what comes of all their predictions together; return what is said of them."""
    mean, std = log_spread(parent, folds, "fold", "folds.csv")
    table = pd.concat([predictions_of(parent.client, fold.run_id) for fold in folds])
    table = table.sort_values("index", ignore_index=True)
    evaluation = evaluated(whole.dataset, table)
    accuracy = report_out_of_fold(parent, whole.dataset, table, evaluation, last_end(folds))
    said = f"{spread_in_words(mean, std, SHOWN)} (n = {len(folds)}), out-of-fold accuracy {accuracy:.2%}"
    found = ""
    if settings.audit:
        used = replace(whole.dataset, train=whole.dataset.train.take(slice(whole.split.limit)))
        found = report_audit(parent, used, evaluation, table["index"].to_numpy(), last_end(folds))
    next_command = command_line("train", **settings.to_type() | {"note": None})
    log_description(
        parent,
        f"{said[0].upper()}{said[1:]}.\n\nMean and standard deviation over folds; `{OUT_OF_FOLD}` has what each "
        f"image was taken for by the network that has not seen it.\n\nTrain without folds: `{next_command}`",
        addition=found and f"{found[0].upper()}{found[1:]}; see `audit/`.",
    )
    return (
        f"run {parent.run_id}: {len(folds)} folds: {said}; {found and f'{found}; '}train without folds: "
        f"{next_command}; look at it: {parent.address}"
    )


def report_out_of_fold(
    parent: Run, dataset: Dataset, table: pd.DataFrame, evaluation: Evaluation, timestamp: int
) -> float:
    """Log the predictions of all folds, with scores, tables and figures; return their accuracy."""
    parent.log_table(OUT_OF_FOLD, table)
    images = dataset.train.images[table["index"]]
    report_summary(parent, evaluation, images, title_of(parent), "training images, out of fold")
    scores = evaluation.scores()
    parent.log_metrics({f"out_of_fold_{name}": score for name, score in scores.items()}, timestamp=timestamp)
    return scores["accuracy"]


def evaluated(dataset: Dataset, table: pd.DataFrame) -> Evaluation:
    return evaluation_of(dataset, table["label"].to_numpy(), np.stack(table["probabilities"].to_list()))


def predictions_of(client: "Client", run_id: str) -> pd.DataFrame:
    """What a fold's network says of the images of its fold, as its run has stored it."""
    with TemporaryDirectory() as folder:
        return pd.read_parquet(request(client.download_artifacts, run_id, OUT_OF_FOLD, folder))
