"""What an ensemble is worth, in tables, a figure and words: beside each member, and how alike their errors are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from imagelab.comparison.pairs import p_text, points_text
from imagelab.console import command_line
from imagelab.ensemble.members import Member
from imagelab.evaluation.ensembles import diversity
from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation.significance import SIGNIFICANT, paired_outcomes
from imagelab.evaluation_report import TEST, VALIDATION
from imagelab.figures.diversity import draw_diversity
from imagelab.models import ENSEMBLE
from imagelab.tracking import Run, log_description

Answers = dict[str, Evaluation]  # of one network, by part


@dataclass(frozen=True)
class Outcome:
    """What the members say, each alone and all together.

    Attributes:
        title: the ensemble in words.
        parameter_counts, weights, alone: of the members, in their order.
    """

    title: str
    members: Sequence[Member]
    parameter_counts: Sequence[int]
    weights: Sequence[float]
    alone: Sequence[Answers]
    together: Answers

    @property
    def best(self) -> int:
        """The number of the member that is best on the validation images."""
        return int(np.argmax([answers[VALIDATION].correct.mean() for answers in self.alone]))


def report_members(run: Run, outcome: Outcome) -> None:
    """Tables of the members and of how alike their errors are on the test images, and a figure of the latter."""
    members, rows = outcome.members, []
    columns = zip(members, outcome.weights, outcome.alone, outcome.parameter_counts, strict=True)
    for member, weight, answers, parameter_count in columns:
        name = member.named.run.info.run_name
        row = {"run_id": member.run_id, "name": name, "model": member.named.architecture, "fold": member.split.fold}
        row |= {"weight": weight} | {f"{part}_accuracy": answers[part].scores()["accuracy"] for part in answers}
        rows.append(row | {"parameter_count": parameter_count})
    run.log_table("members.csv", pd.DataFrame(rows).dropna(axis="columns", how="all"))
    pairs = diversity([answers[TEST] for answers in outcome.alone])
    labels = [member.label for member in members]
    title = f"{outcome.title}: share of the test images"
    run.log_figure("figures/diversity.png", draw_diversity(pairs, labels, title))
    for side in ("first", "second"):
        pairs[f"{side}_run"] = [members[number].run_id for number in pairs[side]]
        pairs[side] = [labels[number] for number in pairs[side]]
    run.log_table("diversity.csv", pairs)


def conclude(run: Run, outcome: Outcome) -> str:
    """Log as the run's description what came out and what to type next, and return it in one line."""
    promote = command_line("promote", outcome.members[0].named.dataset, ENSEMBLE, run_id=run.run_id)
    beside = beside_best(outcome)
    weights = [f"{each.label} {weight:.3g}" for each, weight in zip(outcome.members, outcome.weights, strict=True)]
    log_description(
        run,
        f"{beside[0].upper()}{beside[1:]}.\n\nWeights: {', '.join(weights)}.\n\n"
        f"Let it be the champion, if it is not worse than the current one: `{promote}`",
    )
    return f"run {run.run_id}: {beside}; promote it: {promote}; look at it: {run.address}"


def beside_best(outcome: Outcome) -> str:
    """The ensemble beside its best member, with McNemar's exact test on the test images."""
    together, best = outcome.together, outcome.alone[outcome.best]
    pairs = paired_outcomes(best[TEST].correct, together[TEST].correct)
    p_value, gain = pairs.p_value(), pairs.improvement
    verdict = f"{'better' if gain > 0 else 'worse'} by {points_text(gain)}" if gain else "no difference"
    luck = ", which can be luck" if gain and p_value >= SIGNIFICANT else ""
    is_behind = together[VALIDATION].correct.mean() < best[VALIDATION].correct.mean()
    advice = ": by these images, leave it at the best member" if is_behind else ""
    label = outcome.members[outcome.best].label
    return (
        f"ensemble {percent(together[TEST])}, best member {percent(best[TEST])} ({label}) on the test split: "
        f"{verdict}, p {p_text(p_value)} (McNemar){luck}; on the validation split: {percent(together[VALIDATION])}, "
        f"{percent(best[VALIDATION])}{advice}"
    )


def percent(evaluation: Evaluation) -> str:
    return f"{100 * evaluation.correct.mean():.1f} %"
