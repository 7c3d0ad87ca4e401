"""The end of a study: its figures, its table, its best settings trained in full, and the line that says so."""

import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from imagelab.console import say
from imagelab.errors import ImagelabError
from imagelab.experiment import run_experiment
from imagelab.settings import TrainSettings, validate
from imagelab.tracking import Run, find_refit, insist, this_process, was_here_and_died
from imagelab.tuning.board import best_trials, figure, settings_text
from imagelab.tuning.study import Session
from imagelab.tuning.study_run import StudyRun

if TYPE_CHECKING:
    from imagelab.tracking import Client

# Attributes of the study: after how many finished trials it was reported on, and which process trains the best.
CONCLUDED, REFITTING = "concluded", "refitting"


def conclude(session: Session, run: StudyRun) -> str:
    """Log what the study has found, train the best, end the run; return the line that says what came out.

    Once is enough: a process that comes later, or is started again, only says it.

    Raises:
        ImagelabError: no trial was completed.
    """
    if running := sum(trial.state == TrialState.RUNNING for trial in session.trials):
        run.log_end("FINISHED")
        run.end()
        return f"time is up here; {running} trials are under way elsewhere, and the same command concludes the study"
    best = best_trials(session)
    if not best:
        raise ImagelabError(f"no trial of study {session.study.study_name} was completed; {reasons(session)}")
    while (written := run.begin()) is None:  # another process on this machine is concluding it
        time.sleep(1)
    if session.study.user_attrs.get(CONCLUDED) != len(session.finished):
        report(session, written, best)
        session.study.set_user_attr(CONCLUDED, len(session.finished))
    if session.settings.refit:
        refit(session, run.client, best[0])
    line = summary(session, best, written.address)
    written.log_missing_tags("failure")
    run.log_end("FINISHED")
    run.end()
    return line


def reasons(session: Session) -> str:
    failures = [trial.user_attrs["failure"] for trial in session.finished if "failure" in trial.user_attrs]
    if failures:
        return f"the last one failed: {failures[-1]}"
    return "all were ended early" if session.finished else "there was no time to finish one"


def report(session: Session, run: Run, best: list[FrozenTrial]) -> None:
    """Log the best settings, the table of trials and Optuna's figures."""
    from imagelab.tuning.figures import draw_study, table_of_trials

    settings = session.settings_of(best[0]).model_dump(mode="json")
    found = {name: settings[name] for name in session.space}
    run.log_tags(**{f"best_{name}": str(value) for name, value in found.items()}, best_trial=str(best[0].number))
    run.log_table("trials.csv", table_of_trials(session))
    run.log_text("best_settings.txt", f"{command_of(session, best[0])}\n")
    for name, page, picture in draw_study(session):
        run.log_page(f"figures/{name}.html", page)
        run.log_figure(f"figures/{name}.png", picture)


def refit(session: Session, client: "Client", best: FrozenTrial) -> None:
    """Train the best settings in full, as a run like any other; go on with one that was interrupted.

    One process at a time: the study says which, as long as that one lives.
    """
    tags = {
        "study": session.study.study_name,
        "study_run": session.run_id,
        "refit_of_trial": str(best.number),
        **this_process(),
    }
    with session.lock():
        found = insist(lambda: find_refit(client, tags), session.settings.upload_patience)
        claimant = None if found.run_id else host_of(session.study.user_attrs.get(REFITTING))
        elsewhere = found.elsewhere or claimant
        if elsewhere is None and not found.is_finished:
            session.study.set_user_attr(REFITTING, this_process())
    if found.is_finished:
        return
    if elsewhere:
        say(f"the best settings are being trained on {elsewhere}; if they are not, name another study or train them")
        return
    say(f"training the best settings in full ({settings_text(session.searched(best))})")
    wanted = {"resume": found.run_id} if found.run_id else typed(session, best)
    try:
        say(str(run_experiment(validate(TrainSettings, wanted), tags)))
    finally:
        with suppress(Exception):
            session.study.set_user_attr(REFITTING, None)


def host_of(process: dict[str, str] | None) -> str | None:
    """Where the process is that trains the best settings; None where it is this one, or has died."""
    if process is None or process == this_process() or was_here_and_died(process):
        return None
    return process["host"]


def summary(session: Session, best: list[FrozenTrial], address: str) -> str:
    """What the study has found, compared with the recipe, and what to type next."""
    names, first = session.settings.objectives, best[0]
    counts = ", ".join(f"{n} {mark}" for mark, n in count_states(session.finished).items() if n)
    values = ", ".join(f"{name} {figure(name, value)}" for name, value in zip(names, first.values, strict=True))
    front = f" (the first of {len(best)} on the Pareto front)" if len(names) > 1 else ""
    return (
        f"study {session.study.study_name}: {len(session.finished)} trials ({counts}); best is trial {first.number}"
        f"{front}: {values}{gain(session, first)}; {settings_text(session.searched(first))}; "
        f"train with it: {command_of(session, first)}; look at it: {address}"
    )


def count_states(trials: list[FrozenTrial]) -> Mapping[str, int]:
    marks = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    return {mark: sum(trial.state == state for trial in trials) for state, mark in marks.items()}


def gain(session: Session, best: FrozenTrial) -> str:
    """How much better than the recipe, in the first objective."""
    recipes = [
        trial for trial in session.finished if trial.user_attrs.get("recipe") and trial.state == TrialState.COMPLETE
    ]
    if not recipes:
        return ""
    name, recipe = session.settings.objectives[0], recipes[0].values[0]
    if recipes[0].number == best.number:
        return ", which is the recipe"
    difference = best.values[0] - recipe
    shown = f"{100 * difference:+.2f} points" if name.endswith("accuracy") else f"{difference:+.4g}"
    return f" ({shown} against the recipe's {figure(name, recipe)})"


def typed(session: Session, trial: FrozenTrial) -> dict[str, Any]:
    """What one types to train with a trial's settings; the recipe has the rest."""
    named = {"dataset": session.base.dataset, "model": session.base.model}
    return {**named, **session.settings.of_trials().given(), **session.searched(trial)}


def command_of(session: Session, trial: FrozenTrial) -> str:
    named = typed(session, trial).items()
    words = " ".join(f"-P {name}={shlex.quote(str(value))}" for name, value in named if name != "note")
    return f"mlflow run . -e train --env-manager local {words}"
