"""The command `train`: one training or, with `seeds`, several that differ in nothing but their seed (replicates).

Replicates are runs below a parent run, which says the mean and the spread of their figures.
"""

from imagelab.console import command_line, say
from imagelab.distillation import with_fixed_teacher
from imagelab.experiment import run_experiment
from imagelab.fit_from_settings import load_fitter
from imagelab.settings import TrainSettings, name_of
from imagelab.tracking import Run, failure_noted, log_description, repeatable_parent, use_tracking_store
from imagelab.training_series import (
    SHOWN,
    FinishedTraining,
    PlannedTraining,
    TrainingSeries,
    log_spread,
    spread_in_words,
    start_of_names,
)

PHASE = "replicates"


def train(settings: TrainSettings) -> str:
    """The command: train, and return the line that says what came out."""
    settings = with_fixed_teacher(settings)
    return replicate(settings) if settings.seeds else str(run_experiment(settings))


def replicate(settings: TrainSettings) -> str:
    """Train once with each of `seeds`; go on with what an earlier command of the same settings has begun.

    Raises:
        ImagelabError: with the reason; the parent run, and the one of that seed, are then FAILED.
        Interrupted: on Ctrl-C or SIGTERM; both are then KILLED, and the same command goes on.
    """
    complete, client = settings.with_recipe(), use_tracking_store()
    with failure_noted(client, "parent"):
        fitter = load_fitter(complete)  # for all of them
    identity = {"phase": PHASE, "settings": complete.as_tag(), "dataset_digest": fitter.dataset.digest}
    with repeatable_parent(client, parent_name(settings), identity, complete.record()) as parent:
        how = "going on with" if parent.resumed else "training with"
        say(f"run {parent.run_id}: {how} {len(settings.seed_list)} seeds ({settings.seeds})")
        series = TrainingSeries(parent, planned(settings, parent), lambda _: fitter)
        parent.conclusion = report(parent, series.run())
    return parent.conclusion


def parent_name(settings: TrainSettings) -> str:
    return f"{name_of(settings)}, {len(settings.seed_list)} seeds"


def planned(settings: TrainSettings, parent: Run) -> list[PlannedTraining]:
    """A training a seed; its run is named after its parent's, if the user has named that."""
    name = start_of_names(parent, settings, parent_name(settings))
    return [
        PlannedTraining(settings.of_seed(seed), f"seed {seed}", {"seed": str(seed)}, f"{name}, seed {seed}")
        for seed in settings.seed_list
    ]


def report(parent: Run, replicates: list[FinishedTraining]) -> str:
    """Log mean, standard deviation and each value of every final figure; return the line that says what came out."""
    mean, std = log_spread(parent, replicates, "seed", "replicates.csv")
    said = spread_in_words(mean, std, SHOWN)
    highest = max(each.metrics["best_val_accuracy"] for each in replicates)
    best, *equal = (each for each in replicates if each.metrics["best_val_accuracy"] == highest)
    as_good = f", as good as {', '.join(each.tags['seed'] for each in equal)}" if equal else ""
    promote = command_line("promote", parent.settings["dataset"], parent.settings["model"], run_id=best.run_id)
    log_description(
        parent,
        f"{said[0].upper()}{said[1:]} (mean and standard deviation, n = {len(replicates)}, seeds "
        f"{parent.settings['seeds']}).\n\nPromote the one that is best on the validation images "
        f"(seed {best.tags['seed']}{as_good}): `{promote}`",
    )
    said = f"{len(replicates)} seeds: {said} (n = {len(replicates)})"
    return f"run {parent.run_id}: {said}; promote the best of them: {promote}; look at it: {parent.address}"
