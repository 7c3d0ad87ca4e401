"""The whole flow on one page: data, model, training, evaluation, and a run that holds all of it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from imagelab.errors import SettingsError
from imagelab.quiet import start_keras
from imagelab.reporting import (
    Result,
    report_data,
    report_evaluation,
    report_features,
    report_network,
    report_training,
    result_of,
)
from imagelab.settings import TrainSettings, validate
from imagelab.tracking import Run, tracked_run

if TYPE_CHECKING:
    import keras

    from imagelab.data.dataset import Dataset, Split
    from imagelab.features import Features
    from imagelab.training import Checkpoints


def run_experiment(settings: TrainSettings, tags: Mapping[str, str] = MappingProxyType({})) -> Result:
    """Train, evaluate and log one network; a new run gets `tags` besides its own.

    Raises:
        ImagelabError: with the reason; the run is then FAILED.
        Interrupted: on Ctrl-C or SIGTERM; the run is then KILLED and can be resumed.
    """
    complete = settings.with_recipe()
    with tracked_run(complete.model_dump(mode="json"), settings.resume, settings.given(), tags) as run:
        if not run.is_recorded:
            train_and_evaluate(validate(TrainSettings, run.settings), run)
        return result_of(run)


def train_and_evaluate(settings: TrainSettings, run: Run) -> None:
    """What happens inside a run, from data to evaluation; goes on from the run's checkpoints."""
    start_keras()
    from imagelab.data import load_dataset
    from imagelab.data.dataset import split_validation
    from imagelab.evaluation import Evaluation
    from imagelab.models import build_model
    from imagelab.models.transfer import is_frozen
    from imagelab.training import (
        Checkpoints,
        choose_dtype_policy,
        predict,
        restore_best,
        seed_everything,
        train,
        under_policy,
    )

    dataset = load_dataset(settings.dataset, **settings.arguments_of(load_dataset))
    fitted, validated = split_validation(dataset.train, **settings.arguments_of(split_validation))
    report_data(run, dataset, fitted, validated)

    def build(policy: str) -> "keras.Model":
        seed_everything(settings.seed)
        with under_policy(policy):
            options = settings.arguments_of(build_model)
            return build_model(settings.model, dataset.image_shape, dataset.num_classes, **options)

    policy = run.recall("dtype_policy", lambda: choose_dtype_policy(settings.mixed_precision))
    network = build(policy)
    best = build("float32")  # what is scored, kept and served computes so on any machine, however it was trained
    report_network(run, network, policy)

    checkpoints = Checkpoints(run.checkpoint_folder)
    run.log_rows(checkpoints.rows)
    tested: Split | Features = dataset.test
    if is_frozen(network):
        tested = train_by_transfer(settings, run, dataset, network, best, fitted, validated, checkpoints)
    else:
        train(network, fitted, validated, checkpoints, on_epoch=run.log_epoch, **settings.arguments_of(train))

    scorer = restore_best(best, checkpoints)
    report_training(run, best, checkpoints.rows, checkpoints.best_row)
    evaluation = Evaluation(
        dataset.test.labels,
        predict(scorer, dataset.test if scorer is best else tested),
        dataset.class_names,
        dataset.superclasses,
        dataset.superclass_names,
    )
    report_evaluation(run, evaluation, dataset, best, checkpoints.best_row)


def train_by_transfer(
    settings: TrainSettings,
    run: Run,
    dataset: "Dataset",
    network: "keras.Model",
    best: "keras.Model",
    fitted: "Split",
    validated: "Split",
    checkpoints: "Checkpoints",
) -> "Features":
    """Train a head on the frozen backbone's features, then the backbone's last layers; return the test features."""
    from imagelab.data.dataset import split_validation
    from imagelab.features import FeatureSource
    from imagelab.models.transfer import describe_features, head_of, unfreeze
    from imagelab.training import fine_tune, train

    if settings.fine_tune_epochs:
        unfreeze(network, **settings.arguments_of(unfreeze))  # before all that takes long: it may be mistyped
    description = describe_features(best) | {"dataset_digest": dataset.digest}
    refuse_other_weights(run, description["weights_digest"])
    source = FeatureSource(best, network, description, settings.feature_cache_limit)
    views = 1 + (settings.augmented_views or 0)
    learned = source.features("train", dataset.train, limit=settings.limit, views=views)
    tested = source.features("test", dataset.test)
    report_features(run, source.spent, description["weights_digest"])

    run.log_tags(phase="head")
    parts = split_validation(learned, **settings.arguments_of(split_validation))
    options = settings.arguments_of(train) | {"on_epoch": run.log_epoch}
    train(head_of(network), *parts, checkpoints, **options | {"phase": "head", "augmentation": "none"})
    if settings.fine_tune_epochs:
        run.log_tags(phase="fine_tune")
        fine_tune(network, best, fitted, validated, checkpoints, **options | settings.arguments_of(fine_tune))
    return tested


def refuse_other_weights(run: Run, digest: str) -> None:
    """A resumed run must not go on with another backbone than it began with: its head would not fit."""
    first = run.recall("weights_digest", lambda: digest)
    if first != digest:
        weights = run.settings["weights"]
        raise SettingsError(f"weights={weights}: run {run.run_id} began with others (SHA-256 {first}, these {digest})")
