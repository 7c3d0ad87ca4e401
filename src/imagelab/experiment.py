"""The whole flow on one page: data, model, training, evaluation, and a run that holds all of it."""

from imagelab.quiet import start_keras
from imagelab.reporting import Result, report_data, report_evaluation, report_network, report_training, result_of
from imagelab.settings import TrainSettings, validate
from imagelab.tracking import Run, tracked_run


def run_experiment(settings: TrainSettings) -> Result:
    """Train, evaluate and log one network.

    Raises:
        ImagelabError: with the reason; the run is then FAILED.
        Interrupted: on Ctrl-C or SIGTERM; the run is then KILLED and can be resumed.
    """
    complete = settings.with_recipe()
    with tracked_run(complete.model_dump(mode="json"), settings.resume, settings.given()) as run:
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
    from imagelab.training import Checkpoints, choose_dtype_policy, predict, seed_everything, train, under_policy

    dataset = load_dataset(settings.dataset, **settings.arguments_of(load_dataset))
    fitted, validated = split_validation(dataset.train, **settings.arguments_of(split_validation))
    report_data(run, dataset, fitted, validated)

    seed_everything(settings.seed)
    build = settings.arguments_of(build_model)
    policy = run.recall("dtype_policy", lambda: choose_dtype_policy(settings.mixed_precision))
    with under_policy(policy):
        model = build_model(settings.model, dataset.image_shape, dataset.num_classes, **build)
    report_network(run, model, policy)

    checkpoints = Checkpoints(run.checkpoint_folder)
    run.log_rows(checkpoints.rows)
    train(model, fitted, validated, checkpoints, on_epoch=run.log_epoch, **settings.arguments_of(train))

    # What is scored, kept and served computes in float32, on any machine, whatever it was trained in.
    with under_policy("float32"):
        best = build_model(settings.model, dataset.image_shape, dataset.num_classes, **build)
    best.load_weights(checkpoints.best_path)
    report_training(run, best, checkpoints.rows, checkpoints.best_row)
    evaluation = Evaluation(
        dataset.test.labels,
        predict(best, dataset.test),
        dataset.class_names,
        dataset.superclasses,
        dataset.superclass_names,
    )
    report_evaluation(run, evaluation, dataset, best, checkpoints.best_row)
