"""The command: train every network of the reference, compare them, and put what it states beside what came out."""

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from imagelab.comparison.compare import (
    compare_selection,
    labelled_selection,
    log_figures,
    make_output_folder,
    page_of,
    show_result,
    write_files,
)
from imagelab.console import command_line, how_many, say, show
from imagelab.fit_from_settings import load_fitter
from imagelab.reproduction.beside import MEASURED, rows_to_read
from imagelab.reproduction.report import Reproduction, reference_sections, reproduction_of, write_reference_files
from imagelab.reproduction.time_needed import TimeNeeded, say_what_comes, time_needed
from imagelab.settings import CompareSettings, ReproduceSettings, name_of
from imagelab.tables import rendered
from imagelab.tracking import (
    Run,
    failure_noted,
    log_description,
    repeatable_parent,
    use_own_experiment,
    use_tracking_store,
)
from imagelab.training import FitPlan, Fitter
from imagelab.training_series import PlannedTraining, TrainingSeries

if TYPE_CHECKING:
    from imagelab.comparison.comparison import Comparison

PHASE = EXPERIMENT = "reproduction"
SHOWN = ("data set", "network", "stated", MEASURED, "ours", "ours against stated")  # on the terminal


def reproduce(settings: ReproduceSettings) -> str:
    """Train, compare and report; go on with what an earlier command of the same settings has begun.

    Raises:
        ImagelabError: with the reason; the parent run, and the one of that training, are then FAILED.
        Interrupted: on Ctrl-C or SIGTERM; both are then KILLED, and the same command goes on.
    """
    make_output_folder(settings.output)
    client = use_tracking_store()
    with failure_noted(client, "parent"):
        fitters = load_fitters(settings)
    name = use_own_experiment(client, EXPERIMENT) or f"reproduction, recipe {settings.recipe}, {settings.seeds_text}"
    identity = {
        "phase": PHASE,
        "settings": settings.as_tag(),
        "dataset_digest": digest(fitters[name].dataset.digest for name in sorted(fitters)),
        "recipe_digest": digest(training.with_recipe().as_tag() for training in settings.trainings()),
    }
    with repeatable_parent(client, name, identity, settings.record()) as parent:
        needed = time_needed(client, settings.trainings())
        say(f"run {parent.run_id}: {'going on' if parent.resumed else 'training'}")
        planned = planned_trainings(settings, needed)
        series = TrainingSeries(parent, planned, lambda each: fitters[each.settings.dataset], is_forecast=True)
        if series.left:
            say_what_comes(settings, series.left, needed.source)
        series.run()
        parent.conclusion = report(settings, parent)
    return parent.conclusion


def load_fitters(settings: ReproduceSettings) -> dict[str, Fitter]:
    """Each data set, loaded once; and the pretrained weights, so that nobody waits an hour to learn that they lack."""
    fitters: dict[str, Fitter] = {}
    for training in settings.trainings():
        if training.dataset not in fitters:
            fitters[training.dataset] = load_fitter(training)
        if training.seed == settings.seed_list[0] and training.with_recipe().weights not in (None, "none"):
            plan = FitPlan(dtype_policy="float32", **training.with_recipe().arguments_of(FitPlan))
            fitters[training.dataset].build(plan, plan.dtype_policy)
    return fitters


def digest(parts: Iterable[str]) -> str:
    """SHA-256 of all of them together."""
    return sha256("\n".join(parts).encode()).hexdigest()


def planned_trainings(settings: ReproduceSettings, needed: TimeNeeded) -> list[PlannedTraining]:
    several = len(settings.seed_list) > 1
    return [
        PlannedTraining(
            training,
            label=f"{training.model} on {training.dataset}{f', seed {training.seed}' if several else ''}",
            tags={"dataset": training.dataset, "model": training.model, "seed": str(training.seed)},
            name=name_of(training),
            expected=seconds,
        )
        for training, seconds in zip(settings.trainings(), needed.seconds, strict=True)
    ]


def report(settings: ReproduceSettings, parent: Run) -> str:
    """Compare what was trained, log it and write it to the folder `output`; the line that says what came out."""
    say("comparing")
    comparison = compare_children(parent, settings)
    reproduction = reproduction_of(settings, comparison)
    show_result(comparison)
    rows = [{name: row[name] for name in SHOWN} for row in rows_to_read(reproduction.rows)]
    show(rendered(rows, folded=(MEASURED,)))
    for row in reproduction.findings:
        show(f"- {row['data set']}: {row['finding']}, stated: {row['stated']}; ours: {row['ours']}")
    for text in reproduction.caveats:
        show(f"- {text}")
    log_report(parent, comparison, reproduction)
    page = settings.output / "report.html"
    return f"reproduced {how_many(len(settings.pairs), 'network')}; open {page}; run {parent.run_id}: {parent.address}"


def compare_children(parent: Run, settings: ReproduceSettings) -> "Comparison":
    of_parent = CompareSettings(parent=parent.run_id, all=True, output=settings.output)
    return compare_selection(parent.client, labelled_selection(parent.client, of_parent))


def log_report(parent: Run, comparison: "Comparison", reproduction: Reproduction) -> None:
    """Files, figures and a description, on the parent run; the files in the folder `output`, too."""
    folder = reproduction.settings.output
    page = page_of(
        comparison, reproduction.title, f"This run: {parent.address}", list(reference_sections(reproduction))
    )
    for path in (*write_files(comparison, page, folder), *write_reference_files(reproduction, folder)):
        parent.log_file(path.name, path)
    log_figures(parent, comparison)
    accuracies = {
        f"test_accuracy/{row.dataset}/{row.model}": row.ours.mean_of("test_accuracy") for row in reproduction.rows
    }
    parent.log_metrics(accuracies)
    said = ", ".join(f"{name.removeprefix('test_accuracy/')} {value:.2%}" for name, value in accuracies.items())
    again = command_line("compare", parent=parent.run_id)
    log_description(parent, f"Test accuracy: {said}. `report.html` has the rest.\n\nAgain, side by side: `{again}`")
