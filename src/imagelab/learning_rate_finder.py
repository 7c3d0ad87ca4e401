"""The command `find_lr`: a training whose rate rises batch by batch (Smith, 2017), and what its loss suggests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from imagelab.console import command_line
from imagelab.errors import DivergedError
from imagelab.figures.curves import draw_learning_rates
from imagelab.fit_from_settings import load_fitter, plan_of
from imagelab.progress import images_progress
from imagelab.reporting import report_network
from imagelab.settings import ExperimentSettings, FindLrSettings, shortest
from imagelab.tracking import Run, failure_noted, log_description, operation_run, use_tracking_store
from imagelab.training import FitEvents, Fitter, RisingRate, Step

ROLE = "learning_rate_search"
FIRST = 10  # batches, whose average is of too few to say much
MARGIN = 10  # how far below the rate at which the loss begins to rise a training is safe


@dataclass(frozen=True)
class Suggestions:
    """Learning rates by a search.

    Attributes:
        steepest: at which the smoothed loss falls fastest, over the logarithm of the rate.
        lowest: at which the smoothed loss is lowest, before it begins to rise.
    """

    steepest: float
    lowest: float

    @property
    def stable(self) -> float:
        """A tenth of the largest rate that the network has learned with: what we recommend; see docs/techniques.md."""
        return self.lowest / MARGIN


def suggest(steps: Sequence[Step]) -> Suggestions:
    """The rates that the losses of a search suggest.

    Raises:
        DivergedError: the loss has not fallen.
    """
    if not steps:
        raise DivergedError("the loss became NaN or infinite in the first batch; try mixed_precision=float32")
    rates, losses = (np.array([getattr(step, name) for step in steps]) for name in ("learning_rate", "smoothed_loss"))
    lowest = int(losses[FIRST:].argmin()) + FIRST if len(steps) > FIRST else 0
    if lowest <= FIRST:
        raise DivergedError(
            f"the loss did not fall while the learning rate rose from {in_digits(rates[0])} to {in_digits(rates[-1])}; "
            "try a smaller lowest"
        )
    slopes = np.gradient(losses, np.log(rates))
    return Suggestions(float(rates[FIRST + slopes[FIRST : lowest + 1].argmin()]), float(rates[lowest]))


def find_learning_rate(settings: FindLrSettings) -> str:
    """The command: search in a run of its own; return the line that says what came out.

    Raises:
        SettingsError: before a run is opened.
        DivergedError: the loss did not fall; the run has the curve and is FAILED.
        Interrupted: on Ctrl-C or SIGTERM; the run is then KILLED.
    """
    training, client = settings.of_training().with_recipe(), use_tracking_store()
    with failure_noted(client, ROLE):
        fitter = load_fitter(training, with_test=False)
    params = training.model_dump(mode="json", exclude=set(settings.refused))
    params |= settings.model_dump(mode="json", include={"lowest", "highest", "steps"})
    tags = {"dataset": settings.dataset, "model": settings.model, "dataset_digest": fitter.dataset.digest}
    with operation_run(client, ROLE, f"{settings.model} on {settings.dataset}", params, tags) as run:
        steps = search(run, settings, training, fitter)
        return report(run, settings, steps)


def search(run: Run, settings: FindLrSettings, training: ExperimentSettings, fitter: Fitter) -> list[Step]:
    """Let the rate rise; log a point a batch, and all of them as a table."""
    plan = plan_of(training)
    with images_progress(settings.steps * plan.batch_size, "learning rates") as advance:

        def on_step(step: Step) -> None:
            run.log_metrics(step.figures(), step.number)
            advance(plan.batch_size)

        rising = RisingRate(settings.lowest, settings.highest, settings.steps, on_step)
        fitter.try_rates(plan, rising, FitEvents(on_network=lambda network: report_network(run, network)))
    run.log_table("learning_rates.csv", pd.DataFrame([{"step": step.number, **step.figures()} for step in rising.done]))
    return rising.done


def report(run: Run, settings: FindLrSettings, steps: Sequence[Step]) -> str:
    """Log the suggestions and a figure of them; return the line that says what to train with."""
    found = suggest(steps)
    run.log_metrics({"steepest_learning_rate": found.steepest, "suggested_learning_rate": found.stable}, len(steps))
    title = f"{settings.model} on {settings.dataset}: loss while the learning rate rises"
    run.log_figure("figures/learning_rates.png", draw_learning_rates(steps, found.steepest, found.stable, title))
    steepest, lowest, stable = map(in_digits, (found.steepest, found.lowest, found.stable))
    train = command_line("train", **settings.to_type() | {"note": None, "learning_rate": stable})
    lowest += ", where it still fell (give a larger highest)" if steps[-1].learning_rate == found.lowest else ""
    said = f"the loss fell fastest at a learning rate of {steepest}, and was lowest at {lowest}"
    log_description(run, f"{said[0].upper()}{said[1:]}. Train with a tenth of the latter, {stable}:\n\n`{train}`")
    return f"run {run.run_id}: {said}; look at it: {run.address}\ntrain with a tenth of the latter: {train}"


def in_digits(rate: float) -> str:
    """A rate as one types it: two digits are more than a search can tell."""
    return shortest(float(f"{rate:.1e}"))
