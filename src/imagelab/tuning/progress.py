"""What a person sees of a study: a line a finished trial; of the others a live table, or a line now and then."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Group
from rich.table import Table
from rich.text import Text

from imagelab.progress import BETWEEN_LINES, Clock, Display, in_words
from imagelab.tuning.study import Study

MARKS = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
PERCENT = ("val_accuracy", "val_top_5_accuracy")
SHOWN = 8  # running trials, of many machines


class StudyProgress:
    """Shows how a study gets on; entered as a context, so that the terminal is put right whatever ends the work."""

    def __init__(self, study: Study, clock: Clock = monotonic) -> None:
        self.study, self.clock = study, clock
        self.display = Display(clock, first_line=BETWEEN_LINES)
        self.reported = {trial.number for trial in study.finished}
        self.started, self.already = clock(), len(self.reported)

    def __enter__(self) -> "StudyProgress":
        self.display.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.display.__exit__(*error)

    def update(self) -> None:
        """Say which trials have finished since the last time, and show how the others stand."""
        finished = self.study.finished
        for trial in finished:
            if trial.number not in self.reported:
                self.reported.add(trial.number)
                self.display.say(describe(trial, self.study))
        if self.display.is_live:
            self.display.draw(Group(Text(self.headline(finished)), self.table()))
        elif self.clock() >= self.display.due:
            self.display.say(self.status(finished))

    def status(self, finished: Sequence[FrozenTrial]) -> str:
        """All that is under way, in one line."""
        running = running_trials(self.study)
        trials = ", ".join(f"trial {trial.number} epoch {epochs_text(trial, self.study)}" for trial in running[:SHOWN])
        more = f" and {len(running) - SHOWN} more" if len(running) > SHOWN else ""
        done = f"{len(finished)}/{self.study.n_trials} trials done"
        return f"{done}  {self.time_left()}  running: {trials or 'workers are starting'}{more}"

    def headline(self, finished: Sequence[FrozenTrial]) -> str:
        states = [trial.state for trial in finished]
        counts = ", ".join(f"{n} {mark}" for state, mark in MARKS.items() if (n := states.count(state)))
        best = best_trials(self.study)
        best_says = f"  best: {describe(best[0], self.study)}" if best else ""
        return f"{len(finished)}/{self.study.n_trials} trials ({counts or 'none yet'})  {self.time_left()}{best_says}"

    def time_left(self) -> str:
        done = len(self.study.finished) - self.already
        left = self.study.n_trials - len(self.study.finished)
        return f"{in_words((self.clock() - self.started) / done * left)} left" if done else "? left"

    def table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in ("trial", "epoch", self.study.settings.objectives[0], "settings"):
            table.add_column(column)
        for trial in running_trials(self.study)[:SHOWN]:
            value = trial.intermediate_values.get(max(trial.intermediate_values, default=0))
            shown = "" if value is None else figure(self.study.settings.objectives[0], value)
            searched = settings_text(self.study.searched(trial))
            table.add_row(str(trial.number), epochs_text(trial, self.study), shown, searched)
        return table


def running_trials(study: Study) -> list[FrozenTrial]:
    return [trial for trial in study.trials if trial.state == TrialState.RUNNING]


def epochs_text(trial: FrozenTrial, study: Study) -> str:
    """The last complete epoch of a trial, of how many; early stopping may end it before."""
    epoch = max([*trial.intermediate_values, trial.user_attrs.get("epoch", 0)])
    phases = ("epochs", "fine_tune_epochs")
    return f"{epoch}/{sum(trial.params.get(phase, getattr(study.base, phase)) or 0 for phase in phases)}"


def best_trials(study: Study) -> list[FrozenTrial]:
    """The best complete trial; of several objectives the Pareto front, by the first one."""
    complete = [trial for trial in study.finished if trial.state == TrialState.COMPLETE]
    if not complete:
        return []
    front = list(study.optuna_study.best_trials) if len(study.settings.objectives) > 1 else complete
    sign = -1 if study.settings.directions[0] == "maximize" else 1
    ranked = sorted(front, key=lambda trial: (sign * trial.values[0], trial.number))
    return ranked if len(study.settings.objectives) > 1 else ranked[:1]


def describe(trial: FrozenTrial, study: Study) -> str:
    """One line about one finished trial."""
    names = study.settings.objectives
    recipe = " (recipe)" if trial.user_attrs.get("recipe") else ""
    if trial.state == TrialState.COMPLETE:
        says = ", ".join(f"{name} {figure(name, value)}" for name, value in zip(names, trial.values, strict=True))
    elif trial.state == TrialState.PRUNED:
        last = max(trial.intermediate_values, default=0)
        says = f"pruned after epoch {last}, {names[0]} {figure(names[0], trial.intermediate_values.get(last, 0.0))}"
    else:
        says = f"failed: {trial.user_attrs.get('failure', 'its process ended')}"
    return f"trial {trial.number}{recipe}: {says}; {settings_text(study.searched(trial))}"


def figure(name: str, value: float) -> str:
    return f"{value:.2%}" if name in PERCENT else f"{value:,.5g}"


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as one would type them."""
    return " ".join(f"{name}={value_text(value)}" for name, value in settings.items())


def value_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
