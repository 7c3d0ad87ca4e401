"""The whole flow on one page: data, model, training, evaluation, and a run that holds all of it."""

from collections.abc import Mapping
from types import MappingProxyType

from imagelab.console import say
from imagelab.data.split import SplitSpec
from imagelab.errors import SettingsError
from imagelab.evaluation_report import evaluation_of
from imagelab.fit_from_settings import load_fitter, plan_of, split_spec
from imagelab.reporting import (
    SERVED_MODEL,
    Result,
    describe,
    report_changed_images,
    report_data,
    report_evaluation,
    report_features,
    report_fold,
    report_network,
    report_training,
    result_of,
)
from imagelab.settings import TrainSettings, name_of, validate
from imagelab.tracking import RUN_NAME, Run, tracked_run
from imagelab.tracking.roles import Role, role_by
from imagelab.training import BackboneFeatures, Checkpoints, FitEvents, Fitter, choose_dtype_policy


def run_experiment(
    settings: TrainSettings, tags: Mapping[str, str] = MappingProxyType({}), fitter: Fitter | None = None
) -> Result:
    """Train, evaluate and log one network.

    Args:
        tags: what a new run gets besides its own.
        fitter: with the data set and split of the settings, where several trainings share them.

    Raises:
        ImagelabError: with the reason; the run is then FAILED.
        Interrupted: on Ctrl-C or SIGTERM; the run is then KILLED and can be resumed.
    """
    complete = settings.with_recipe()
    tags = {RUN_NAME: name_of(settings), **tags}
    with tracked_run(complete.record(), settings.resume, settings.given(), tags, SERVED_MODEL) as run:
        if not run.is_recorded:
            train_and_evaluate(validate(TrainSettings, run.settings), run, fitter)
        return result_of(run)


def role_on(split: SplitSpec) -> Role:
    """What a training on this split is: that of a fold has learned from too few images to be promoted."""
    return "final" if split.fold is None else "fold"


def train_and_evaluate(settings: TrainSettings, run: Run, fitter: Fitter | None = None) -> None:
    """What happens inside a run, from data to evaluation; goes on from the run's checkpoints."""
    split = SplitSpec.from_json(run.recall("split", (fitter.split if fitter else split_spec(settings)).to_json))
    if role_by(run.tags) == "fold" and split.fold is None:
        raise SettingsError(f"resume={run.run_id}: its fold is not known any more; type its cross_validate again")
    run.log_tags(role=role_on(split), settings=settings.as_tag())
    fitter = fitter or load_fitter(settings, split)
    dataset = fitter.dataset
    report_data(run, dataset, fitter.split, fitter.splits)

    policy = run.recall("dtype_policy", lambda: choose_dtype_policy(settings.mixed_precision))
    plan = plan_of(settings, policy)
    checkpoints = Checkpoints(run.checkpoint_folder, str(settings.monitor))
    run.log_rows(checkpoints.rows)
    if plan.changes_images:
        report_changed_images(run, fitter.first_batch(plan), dataset.class_names)
    fitter.fit(plan, checkpoints, events_of(run))

    best_row = checkpoints.best_row
    say(f"testing the network of epoch {best_row['epoch']}, the best, then drawing figures and storing all of it")
    best = fitter.best_network(plan, checkpoints)
    report_training(run, best, checkpoints.rows, best_row)
    probabilities = fitter.test_probabilities(plan, best, best_row["phase"])
    report_evaluation(run, evaluation_of(dataset, dataset.test.labels, probabilities), dataset, best, best_row)
    if split.fold is not None:
        report_fold(run, dataset, split, fitter.fold_probabilities(plan, best, best_row["phase"]), best_row)
    describe(run)


def events_of(run: Run) -> FitEvents:
    """What the run is told while the network is fitted."""

    def on_features(features: BackboneFeatures) -> None:
        refuse_other_weights(run, features.weights_digest)
        report_features(run, features.spent, features.weights_digest)

    return FitEvents(
        on_network=lambda network: report_network(run, network),
        on_features=on_features,
        on_phase=lambda phase: run.log_tags(phase=phase),
        on_epoch=run.log_epoch,
    )


def refuse_other_weights(run: Run, digest: str) -> None:
    """A resumed run must not go on with another backbone than it began with: its head would not fit."""
    first = run.recall("weights_digest", lambda: digest)
    if first != digest:
        weights = run.settings["weights"]
        raise SettingsError(f"weights={weights}: run {run.run_id} began with others (SHA-256 {first}, these {digest})")
