"""The label audit of a cross-validation: what may be wrong with the data set, as tables, pictures and a sentence."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from imagelab.console import say
from imagelab.data.dataset import Dataset
from imagelab.evaluation.label_errors import ImageIndex, duplicates, likely_label_errors, outliers
from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation_report import GALLERY
from imagelab.figures.galleries import draw_copies, draw_label_errors
from imagelab.tracking import Run

AUDITED = "audited"  # tag


def report_audit(run: Run, dataset: Dataset, evaluation: Evaluation, indices: np.ndarray, timestamp: int) -> str:
    """Log likely label errors, copies and outliers of a data set; return what was found in words.

    Args:
        dataset: with the training images that were used, the first ones of the official split.
        evaluation: what networks say of images that they have not learned from.
        indices: the numbers of these images in the training split.
        timestamp: of the metrics, in milliseconds since 1970.
    """
    say(f"label audit: {len(indices):,} labels, {len(dataset.train) + len(dataset.test):,} images")
    errors = likely_label_errors(evaluation, indices)
    index = ImageIndex(dataset.train)
    among = index.neighbours()
    copies = duplicates(index, dataset.test, dataset.class_names, among)
    run.log_table("audit/label_errors.csv", errors)
    run.log_table("audit/duplicates.csv", copies)
    run.log_table("audit/outliers.csv", outliers(dataset.train, dataset.class_names, among))
    draw_audit(run, dataset, errors, copies)
    counts = counts_of(errors, copies)
    run.log_metrics(counts, timestamp=timestamp)
    run.log_tags(**{AUDITED: "true"})
    return audit_words(counts, len(indices))


def draw_audit(run: Run, dataset: Dataset, errors: pd.DataFrame, copies: pd.DataFrame) -> None:
    """Pictures of the first rows of both tables."""
    shown = errors.head(GALLERY)
    title = f"{dataset.name}: the labels that are doubted most"
    figure = draw_label_errors(dataset.train.images[shown["index"]], shown, title)
    run.log_figure("figures/label_errors.png", figure)
    shown = copies.head(GALLERY)
    splits = {"train": dataset.train, "test": dataset.test}
    rows = zip(shown["split"], shown["index"], shown["training_index"], strict=True)
    pairs = [np.concatenate([splits[s].images[i], dataset.train.images[j]], axis=1) for s, i, j in rows]
    title = f"{dataset.name}: images and their copies, those with other labels first, then the least similar"
    run.log_figure("figures/duplicates.png", draw_copies(pairs, shown, title))


def counts_of(errors: pd.DataFrame, copies: pd.DataFrame) -> dict[str, int]:
    return {
        "label_errors": len(errors),
        "duplicates_train": int((copies["split"] == "train").sum()),
        "duplicates_train_test": int((copies["split"] == "test").sum()),
        "duplicates_with_other_label": int((~copies["same_label"].astype(bool)).sum()),
    }


def audit_words(counts: Mapping[str, int], audited: int) -> str:
    return (
        f"label audit: {counts['label_errors']:,} of {audited:,} labels are suspected to be wrong, "
        f"{counts['duplicates_train_test']:,} test images are copies of training images, "
        f"{counts['duplicates_train']:,} pairs of training images are copies of each other, "
        f"{counts['duplicates_with_other_label']:,} of all these have another label than their copy"
    )
