"""What an evaluation has found out, in tables and in words: beside the training's figures, and of changed answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from imagelab.console import command_line, how_many
from imagelab.data.dataset import Dataset, Split
from imagelab.evaluation.drift import (
    PREDICTED,
    class_shares,
    mean_drift,
    pixel_figures,
    share_drift,
    size_drift,
    warnings_of,
)
from imagelab.evaluation.effects import (
    Effect,
    advice,
    calibration_words,
    compared_with_training,
    effect_table,
    gain_words,
)
from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation_report import GIVEN, TEST, VALIDATION, WORDS
from imagelab.figures.galleries import draw_samples
from imagelab.prediction.labelled_images import OTHER_CLASS, LabelledImages, shortened
from imagelab.tracking import Run, request, settings_of
from imagelab.tracking.roles import role_by

FEW = 30  # given images, of which a difference is hardly ever shown


@dataclass(frozen=True)
class Outcome:
    """What came out of an evaluation.

    Attributes:
        title: the network in words.
        trained: the run that has trained it, as MLflow has it.
        target: the part that the evaluation is about.
        final: what the network says of each part, changed if that was wanted.
        effects: of test-time augmentation (`tta`) or a `temperature` on each part; empty where neither was wanted.
        model_id: of the network that answers so.
    """

    title: str
    trained: Any
    target: str
    final: Mapping[str, Evaluation]
    effects: Mapping[str, Effect]
    tta: str
    temperature: float | None
    model_id: str


def report_findings(run: Run, outcome: Outcome) -> list[str]:
    """Log what the evaluation is compared with, and return it in words."""
    evaluation = outcome.final[outcome.target]
    scores = evaluation.scores()
    trained, words = trained_scores(run, outcome.trained, outcome.target)
    table = compared_with_training(trained, scores)
    run.log_table("evaluation/comparison_with_training.csv", table)
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())
    lines = [f"{outcome.title}, {WORDS[outcome.target]}, {how_many(len(evaluation.labels), 'image')}: {figures}"]
    by_name = zip(table["score"].astype(str), table["difference"].astype(float), strict=True)
    differences = [f"{name.replace('_', ' ')} {difference_words(difference)}" for name, difference in by_name]
    lines.append(
        f"compared with {words} of its run {outcome.trained.info.run_id}: {', '.join(differences) or 'unknown'}"
    )
    return [*lines, *report_effects(run, outcome)]


def difference_words(difference: float) -> str:
    return f"{difference:+.4f}" if abs(difference) >= 0.00005 else "the same"


def trained_scores(run: Run, trained: Any, target: str) -> tuple[dict[str, float], str]:
    """The scores that a training has logged which an evaluation of a part can be compared with, and their name."""
    metrics = trained.data.metrics
    if target != VALIDATION:
        begin = f"{TEST}_"
        return {name.removeprefix(begin): metrics[name] for name in metrics if name.startswith(begin)}, "the test split"
    scores = {"accuracy": metrics["best_val_accuracy"]} if "best_val_accuracy" in metrics else {}
    losses = request(run.client.get_metric_history, trained.info.run_id, "val_loss")
    best = [point.value for point in losses if point.step == metrics.get("best_epoch")]
    settings = settings_of(run.client, trained)
    if settings.get("label_smoothing") or settings.get("l2"):
        best = []  # its val_loss is of smoothed labels, or has a penalty in it
    return scores | ({"loss": best[0]} if best else {}), "the best epoch's validation"


def report_effects(run: Run, outcome: Outcome) -> list[str]:
    """What test-time augmentation or a temperature does, as table and metrics, and in words."""
    if not outcome.effects:
        return []
    name = "tta" if outcome.temperature is None else "temperature"
    run.log_table(f"evaluation/{name}.csv", effect_table(outcome.effects))
    for part, effect in outcome.effects.items():
        row = effect.row()
        run.log_metrics({f"{part}_{key}": row[key] for key in row if key.startswith("ms_")})
        if outcome.temperature is None:
            run.log_metrics({f"{part}_tta_{key}": score for key, score in effect.after.scores().items()})
        else:
            run.log_metrics({f"{part}_{key}_before": score for key, score in effect.before.scores().items()})
    if outcome.temperature is None:
        gains = [gain_words(outcome.tta, WORDS[part], effect) for part, effect in outcome.effects.items()]
        return [*gains, advice(outcome.tta, outcome.effects[VALIDATION])]
    words = [calibration_words(outcome.temperature, WORDS[TEST], outcome.effects[TEST])]
    tags, network = outcome.trained.data.tags, f"the calibrated network is models:/{outcome.model_id}"
    if role_by(tags) == "fold":  # which is not promoted
        return [*words, network]
    return [*words, f"{network}: {command_line('promote', tags['dataset'], tags['model'], run_id=run.run_id)}"]


def report_given(run: Run, given: LabelledImages, dataset: Dataset, path: str) -> list[str]:
    """Log which images were left out, how many each class has and a sample of them; return the first two in words."""
    run.log_table("data/left_out.csv", given.left_out)
    counts = np.bincount(given.labels, minlength=dataset.num_classes)
    run.log_table("data/class_balance.csv", pd.DataFrame({"class": dataset.class_names, "images": counts}))
    title = f"{path}: the first image of each class, in the network's size"
    run.log_figure("figures/samples.png", draw_samples(given.images, given.labels, dataset.class_names, title))
    lines = []
    if len(given.left_out):
        unknown = given.left_out["given_class"][given.left_out["problem"] == OTHER_CLASS].astype(str).unique()
        classes = f" (no classes of the network: {shortened(list(unknown), 10)})" if len(unknown) else ""
        lines.append(f"left out: {given.problems()}{classes}; data/left_out.csv in the run names each")
    if (counts == 0).any():
        lines.append(f"no image of: {shortened([dataset.class_names[i] for i in np.flatnonzero(counts == 0)], 10)}")
    return lines


def report_drift(run: Run, training: Split, given: LabelledImages, outcome: Outcome) -> list[str]:
    """Compare given images with those that the network has learned from; return what is off, in words.

    Confidence and predicted classes are compared with the validation images: of those that it has learned from, a
    network is too sure.
    """
    height, width = training.images.shape[1:3]
    theirs, ours = pixel_figures(training.images), pixel_figures(given.images)
    rows = [mean_drift(figure, theirs[figure], ours[figure]) for figure in ours]
    sizes = given.sizes[~np.isnan(given.sizes).any(axis=1)]
    if len(sizes):
        rows.append(size_drift(width, height, len(training), sizes))
    before, after = (without_change(outcome, part) for part in (VALIDATION, GIVEN))
    rows.append(mean_drift("confidence", before.confidence, after.confidence))
    classes = len(after.class_names)
    labelled = [np.bincount(labels, minlength=classes) for labels in (training.labels, given.labels)]
    predicted = [np.bincount(each.predicted, minlength=classes) for each in (before, after)]
    rows += [share_drift("classes as labelled", *labelled), share_drift(PREDICTED, *predicted)]
    drift = pd.DataFrame(rows)
    run.log_table("evaluation/drift.csv", drift)
    run.log_table("evaluation/predicted_shares.csv", class_shares(predicted[0], predicted[1], after.class_names))
    run.log_metrics({"drifted_figures": int(drift["off"].sum())})
    warnings = warnings_of(drift)
    if not warnings:
        few = (
            f"; {how_many(len(given.labels), 'image')} {'is' if len(given.labels) == 1 else 'are'} too few to tell"
            if len(given.labels) < FEW
            else ""
        )
        return [f"no figure of evaluation/drift.csv shows a difference from the training images{few}"]
    return [f"WARNING, these images are unlike the training images: {'; '.join(warnings)}"]


def without_change(outcome: Outcome, part: str) -> Evaluation:
    """What the network itself says of a part."""
    return outcome.effects[part].before if outcome.effects else outcome.final[part]
