"""What a person sees of a tuning session: a line a finished trial and, on a terminal, a live table of the others."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from imagelab.console import clock
from imagelab.tuning.study import Session

MARKS = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
PERCENT = ("val_accuracy", "val_top_5_accuracy")
SHOWN = 8  # running trials, of many machines


class Board:
    """Shows a session; the caller enters `live`, so that the terminal is put right whatever happens."""

    def __init__(self, session: Session, console: Console | None = None) -> None:
        self.session, self.console = session, console or Console(stderr=True)
        self.told: set[int] = set()
        self.started, self.already = time.monotonic(), len(session.finished)
        terminal = self.console.is_terminal
        self.live = Live(console=self.console, transient=True, auto_refresh=False) if terminal else None

    def __enter__(self) -> "Board":
        self.told = {trial.number for trial in self.session.finished}
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.stop()

    def update(self) -> None:
        """Say which trials have finished since the last time, and show how the others stand."""
        finished = self.session.finished
        for trial in finished:
            if trial.number not in self.told:
                self.told.add(trial.number)
                self.console.print(describe(trial, self.session), highlight=False, soft_wrap=True, markup=False)
        if self.live:
            self.live.update(Group(Text(self.headline(finished)), self.table()), refresh=True)

    def headline(self, finished: Sequence[FrozenTrial]) -> str:
        states = [trial.state for trial in finished]
        counts = ", ".join(f"{n} {mark}" for state, mark in MARKS.items() if (n := states.count(state)))
        best = best_trials(self.session)
        best_says = f"  best: {describe(best[0], self.session)}" if best else ""
        return f"{len(finished)}/{self.session.n_trials} trials ({counts or 'none yet'})  {self.time_left()}{best_says}"

    def time_left(self) -> str:
        done = len(self.session.finished) - self.already
        left = self.session.n_trials - len(self.session.finished)
        return f"{clock((time.monotonic() - self.started) / done * left)} left" if done else "? left"

    def table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in ("trial", "epoch", self.session.settings.objectives[0], "settings"):
            table.add_column(column)
        running = [trial for trial in self.session.trials if trial.state == TrialState.RUNNING]
        for trial in running[:SHOWN]:
            epoch = max(trial.intermediate_values, default=0)
            value = trial.intermediate_values.get(epoch)
            shown = "" if value is None else figure(self.session.settings.objectives[0], value)
            searched = settings_text(self.session.searched(trial))
            table.add_row(str(trial.number), f"{epoch}/{self.session.base.epochs}", shown, searched)
        return table


def best_trials(session: Session) -> list[FrozenTrial]:
    """The best complete trial; of several objectives the Pareto front, by the first one."""
    complete = [trial for trial in session.finished if trial.state == TrialState.COMPLETE]
    if not complete:
        return []
    front = list(session.study.best_trials) if len(session.settings.objectives) > 1 else complete
    sign = -1 if session.settings.directions[0] == "maximize" else 1
    ranked = sorted(front, key=lambda trial: (sign * trial.values[0], trial.number))
    return ranked if len(session.settings.objectives) > 1 else ranked[:1]


def describe(trial: FrozenTrial, session: Session) -> str:
    """One line about one finished trial."""
    names = session.settings.objectives
    recipe = " (recipe)" if trial.user_attrs.get("recipe") else ""
    if trial.state == TrialState.COMPLETE:
        says = ", ".join(f"{name} {figure(name, value)}" for name, value in zip(names, trial.values, strict=True))
    elif trial.state == TrialState.PRUNED:
        last = max(trial.intermediate_values, default=0)
        says = f"pruned after epoch {last}, {names[0]} {figure(names[0], trial.intermediate_values.get(last, 0.0))}"
    else:
        says = f"failed: {trial.user_attrs.get('failure', 'its process ended')}"
    return f"trial {trial.number}{recipe}: {says}; {settings_text(session.searched(trial))}"


def figure(name: str, value: float) -> str:
    return f"{value:.2%}" if name in PERCENT else f"{value:,.5g}"


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as one would type them."""
    return " ".join(f"{name}={typed(value)}" for name, value in settings.items())


def typed(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
