"""The end of a study: its figures, its table, its best settings trained in full, and the line that says so."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from imagelab.console import command_line, how_many, say
from imagelab.errors import ImagelabError
from imagelab.keras_startup import start_keras
from imagelab.progress import BETWEEN_LINES
from imagelab.settings import TrainSettings, validate
from imagelab.tracking import Run, find_refit, log_description, retry, this_process, was_here_and_died
from imagelab.tuning.progress import best_trials, figure, settings_text
from imagelab.tuning.study import Study
from imagelab.tuning.study_run import StudyRun

if TYPE_CHECKING:
    from imagelab.tracking import Client

# Attributes of the study: after how many finished trials it was reported on, and which process trains the best.
CONCLUDED, REFITTING = "concluded", "refitting"


def conclude(study: Study, run: StudyRun) -> str:
    """Log what the study has found, train the best, end the run; return the line that says what came out.

    Once is enough: a process that comes later, or is started again, only says it.

    Raises:
        ImagelabError: no trial was completed.
    """
    if running := sum(trial.state == TrialState.RUNNING for trial in study.trials):
        run.log_end("FINISHED")
        run.end()
        return f"time is up here; {running} trials are under way elsewhere, and the same command concludes the study"
    best = best_trials(study)
    if not best:
        raise ImagelabError(f"no trial of study {study.name} was completed; {reasons(study)}")
    written = wait_for(run)
    if study.optuna_study.user_attrs.get(CONCLUDED) != len(study.finished):
        report(study, written, best)
        study.optuna_study.set_user_attr(CONCLUDED, len(study.finished))
    if study.settings.refit:
        refit(study, run.client, best[0])
    found = summary(study, best)
    log_description(written, found, note=study.settings.note)
    written.log_missing_tags("failure")
    run.log_end("FINISHED")
    run.end()
    return f"{found}; look at it: {written.address}"


def wait_for(run: StudyRun) -> Run:
    """The study's run, to write to, once no other process on this machine does."""
    due = time.monotonic()
    while (written := run.begin()) is None:
        if time.monotonic() >= due:
            say("another process on this machine is concluding the study; waiting for it")
            due += BETWEEN_LINES
        time.sleep(1)
    return written


def reasons(study: Study) -> str:
    failures = [trial.user_attrs["failure"] for trial in study.finished if "failure" in trial.user_attrs]
    if failures:
        return f"the last one failed: {failures[-1]}"
    return "all were ended early" if study.finished else "there was no time to finish one"


def report(study: Study, run: Run, best: list[FrozenTrial]) -> None:
    """Log the best settings, the table of trials and Optuna's figures."""
    say("drawing the study's figures")
    from imagelab.tuning.figures import draw_study, table_of_trials  # matplotlib and plotly, needed only here

    settings = study.settings_of(best[0]).model_dump(mode="json")
    found = {name: settings[name] for name in study.space}
    run.log_tags(**{f"best_{name}": str(value) for name, value in found.items()}, best_trial=str(best[0].number))
    run.log_table("trials.csv", table_of_trials(study))
    run.log_text("best_settings.txt", f"{command_of(study, best[0])}\n")
    for name, page, picture in draw_study(study):
        run.log_page(f"figures/{name}.html", page)
        run.log_figure(f"figures/{name}.png", picture)


def refit(study: Study, client: "Client", best: FrozenTrial) -> None:
    """Train the best settings in full, as a run like any other; go on with one that was interrupted.

    One process at a time: the study says which, as long as that one lives.
    """
    tags = {
        "study": study.name,
        "study_run": study.run_id,
        "refit_of_trial": str(best.number),
        **this_process(),
    }
    with study.lock():
        found = retry(lambda: find_refit(client, tags), study.settings.upload_patience)
        refitting = None if found.run_id else host_of(study.optuna_study.user_attrs.get(REFITTING))
        elsewhere = found.elsewhere or refitting
        if elsewhere is None and not found.is_finished:
            study.optuna_study.set_user_attr(REFITTING, this_process())
    if found.is_finished:
        return
    if elsewhere:
        say(f"the best settings are being trained on {elsewhere}; if they are not, name another study or train them")
        return
    start_keras()
    from imagelab.experiment import run_experiment  # it imports Keras, which the command needs only here

    say(f"training the best settings in full ({settings_text(study.searched(best))})")
    wanted = {"resume": found.run_id} if found.run_id else settings_to_type(study, best)
    try:
        say(str(run_experiment(validate(TrainSettings, wanted), tags)))
    finally:
        with suppress(Exception):
            study.optuna_study.set_user_attr(REFITTING, None)


def host_of(process: dict[str, str] | None) -> str | None:
    """Where the process is that trains the best settings; None where it is this one, or has died."""
    if process is None or process == this_process() or was_here_and_died(process):
        return None
    return process["host"]


def summary(study: Study, best: list[FrozenTrial]) -> str:
    """What the study has found, compared with the recipe, and what to type next."""
    names, first = study.settings.objectives, best[0]
    counts = ", ".join(f"{n} {mark}" for mark, n in count_states(study.finished).items() if n)
    values = ", ".join(f"{name} {figure(name, value)}" for name, value in zip(names, first.values, strict=True))
    front = f" (the first of {len(best)} on the Pareto front)" if len(names) > 1 else ""
    return (
        f"study {study.name}: {how_many(len(study.finished), 'trial')} ({counts}); best is trial {first.number}"
        f"{front}: {values}{gain(study, first)}; {settings_text(study.searched(first))}; "
        f"train with it: {command_of(study, first)}"
    )


def count_states(trials: list[FrozenTrial]) -> Mapping[str, int]:
    marks = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    return {mark: sum(trial.state == state for trial in trials) for state, mark in marks.items()}


def gain(study: Study, best: FrozenTrial) -> str:
    """How much better than the recipe, in the first objective."""
    recipes = [
        trial for trial in study.finished if trial.user_attrs.get("recipe") and trial.state == TrialState.COMPLETE
    ]
    if not recipes:
        return ""
    name, recipe = study.settings.objectives[0], recipes[0].values[0]
    if recipes[0].number == best.number:
        return ", which is the recipe"
    difference = best.values[0] - recipe
    shown = f"{100 * difference:+.2f} points" if name.endswith("accuracy") else f"{difference:+.4g}"
    return f" ({shown} against the recipe's {figure(name, recipe)})"


def settings_to_type(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """What one types to train with a trial's settings; the recipe has the rest."""
    return {**study.settings.to_type(), **study.searched(trial)}


def command_of(study: Study, trial: FrozenTrial) -> str:
    return command_line("train", **{**settings_to_type(study, trial), "note": None})
