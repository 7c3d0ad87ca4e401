"""What a run holds and under which names: brings evaluation, figures and tracking together for experiment.py."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from imagelab.atomic_files import write_durably
from imagelab.console import command_line, say
from imagelab.data.dataset import Dataset, Split
from imagelab.data.split import SplitSpec
from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation_report import evaluation_of, input_of, report_answers, report_model
from imagelab.features import FeatureSeconds
from imagelab.figures.curves import draw_curves, explore_curves
from imagelab.figures.galleries import draw_samples, draw_training_batch
from imagelab.progress import in_words
from imagelab.tracking import Run, log_description, log_split, show_side_by_side

SERVED_MODEL = Path(__file__).parent / "serving" / "served_model.py"  # stored with each model, to answer for it
SIDE_BY_SIDE = ("figures/curves.png", "figures/confusion_matrix.png", "figures/incorrect.png")  # of several runs
MOST_CHANGED = 32  # images
CONTEXTS = ("training", "validation", "test")
OUT_OF_FOLD = "evaluation/out_of_fold.parquet"  # artifact


@dataclass(frozen=True)
class Result:
    """What is left to say when a run is finished.

    Attributes:
        fold_accuracy: of a fold of a cross-validation, on its images.
    """

    best_epoch: int
    best_val_accuracy: float
    test_accuracy: float
    training_seconds: float
    run_id: str
    address: str
    fold_accuracy: float | None = None

    def __str__(self) -> str:
        return (
            f"run {self.run_id}: best epoch {self.best_epoch}, validation accuracy {self.best_val_accuracy:.2%}, "
            f"test accuracy {self.test_accuracy:.2%}, {self.training_seconds:.0f} s of training; "
            f"look at it: {self.address}"
        )


def describe(run: Run) -> None:
    """Say in the run's description what came out, and what to type next."""
    result = result_of(run)
    next_command = command_line("promote", run.settings["dataset"], run.settings["model"], run_id=run.run_id)
    next_step = f"Let it be the champion, if it is not worse than the current one: `{next_command}`"
    if result.fold_accuracy is not None:
        next_step = f"Accuracy **{result.fold_accuracy:.2%}** on the images of its fold; the run above has all folds."
    log_description(
        run,
        f"Test accuracy **{result.test_accuracy:.2%}**, validation accuracy {result.best_val_accuracy:.2%} in epoch "
        f"{result.best_epoch}, the best; {in_words(result.training_seconds)} of training.\n\n{next_step}",
    )


def result_of(run: Run) -> Result:
    """The result that a completed training has left behind."""
    known = json.loads((run.folder / "result.json").read_text())
    result = Result(**known, run_id=run.run_id, address=run.address)
    run.conclusion = str(result)
    return result


def report_data(run: Run, dataset: Dataset, split: SplitSpec, parts: tuple[Split, Split]) -> None:
    """Digest, how the training images were split, splits as dataset inputs, class balance, a sample of each class."""
    run.log_tags(dataset_digest=dataset.digest, phase="train")
    log_split(run, split)
    splits = dict(zip(CONTEXTS, (*parts, dataset.test), strict=True))
    run.log_inputs({context: input_of(dataset, split, context) for context, split in splits.items()})
    balance = {context: np.bincount(split.labels, minlength=dataset.num_classes) for context, split in splits.items()}
    run.log_table("data/class_balance.csv", pd.DataFrame({"class": dataset.class_names, **balance}))
    title = f"{dataset.name}: the first training image of each class"
    figure = draw_samples(dataset.train.images, dataset.train.labels, dataset.class_names, title)
    run.log_figure("figures/samples.png", figure)
    say(
        f"{dataset.name}: {len(parts[0]):,} images to learn from, {len(parts[1]):,} to choose by, "
        f"{len(dataset.test):,} to test; {dataset.source}"
    )


def report_changed_images(run: Run, batch: tuple[np.ndarray, np.ndarray], class_names: Sequence[str]) -> None:
    """A picture of a batch as the network learns from it, where images are changed by chance."""
    images, targets = (part[:MOST_CHANGED] for part in batch)
    title = f"images as {title_of(run)} learns from them"
    run.log_figure("figures/training_batch.png", draw_training_batch(images, targets, class_names, title))


def report_network(run: Run, model: keras.Model) -> None:
    text = io.StringIO()
    model.summary(print_fn=lambda line, **_: text.write(f"{line}\n"), line_length=100)
    run.log_text("model_summary.txt", text.getvalue())
    policy = model.dtype_policy.name
    run.log_params({"dtype_policy": policy})
    go_on = ", going on after its last complete epoch" if run.resumed else ""
    say(f"run {run.run_id}: {model.name}, {model.count_params():,} parameters, {policy}{go_on}")


def report_features(run: Run, spent: FeatureSeconds, weights_digest: str) -> None:
    """What the features have cost this run, what the cache has saved it, and whose features they are.

    What a resumed run finds in the cache is its own earlier work.
    """
    path = run.checkpoint_folder / "feature_seconds.json"
    first = {"feature_seconds": 0.0, "feature_seconds_saved": spent.saved}
    seconds = json.loads(path.read_text()) if path.exists() else first
    seconds["feature_seconds"] += spent.computing
    write_durably(path, json.dumps(seconds))
    run.log_params({"weights_digest": weights_digest})
    measured = {} if math.isnan(spent.processor) else {"feature_processor_seconds": spent.processor}
    run.log_metrics(seconds | measured, 0)
    found = f"; {spent.saved:.0f} s saved by features from the cache" if spent.saved else ""
    say(f"features: {spent.computing:.0f} s{found}")


def title_of(run: Run) -> str:
    """The network of a training in words."""
    return f"{run.settings['model']} on {run.settings['dataset']}"


def report_training(run: Run, model: keras.Model, rows: list[dict[str, Any]], best: dict[str, Any]) -> None:
    """The single figures of the training, its curves and its checkpoints."""
    totals = {
        "best_epoch": best["epoch"],
        "best_val_accuracy": best["val_accuracy"],
        "training_seconds": sum(row["epoch_seconds"] for row in rows),
    }
    counted = {"parameter_count": model.count_params()}
    if all("epoch_processor_seconds" in row for row in rows):  # an older version did not measure them
        counted["training_processor_seconds"] = sum(row["epoch_processor_seconds"] for row in rows)
    run.log_metrics(totals | counted, best["epoch"], best["timestamp"])
    run.log_table("curves.csv", pd.DataFrame(rows))
    run.log_figure("figures/curves.png", draw_curves(rows, best["epoch"], title_of(run)))
    run.log_page("figures/curves.html", explore_curves(rows, best["epoch"], title_of(run)))
    run.log_checkpoints()
    write_result(run, **totals)


def is_final_metric(name: str) -> bool:
    """Whether a metric of a training is logged once, at the end: not an epoch's, nor one of the machine's."""
    of_epochs = ("loss", "accuracy", "learning_rate", "images_per_second")
    return name not in of_epochs and not name.startswith(("epoch_", "val_", "system/"))


def write_result(run: Run, **values: float) -> None:
    path = run.folder / "result.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    write_durably(path, json.dumps(known | values))


def report_evaluation(
    run: Run, evaluation: Evaluation, dataset: Dataset, model: keras.Model, best: dict[str, Any]
) -> None:
    """Scores, tables, figures and galleries of the test split, and the network as the run's model."""
    report_answers(run, evaluation, dataset.test.images, title_of(run), "test split")
    for name in SIDE_BY_SIDE:
        show_side_by_side(run, name, best["timestamp"])
    scores = evaluation.scores()
    report_model(run, model, dataset, scores, best["epoch"], best["timestamp"])
    write_result(run, test_accuracy=scores["accuracy"])


def report_fold(run: Run, dataset: Dataset, split: SplitSpec, probabilities: np.ndarray, best: dict[str, Any]) -> None:
    """Scores of a fold, and a row for each of its images: as in predictions.parquet, with fold and all probabilities.

    `index` is the image's number in the official training split.
    """
    indices = split.fold_indices(dataset.train.labels)
    evaluation = evaluation_of(dataset, dataset.train.labels[indices], probabilities)
    scores = {f"fold_{name}": score for name, score in evaluation.scores().items()}
    run.log_metrics(scores, best["epoch"], best["timestamp"])
    more = {"index": indices, "fold": split.fold, "probabilities": list(probabilities)}
    run.log_table(OUT_OF_FOLD, evaluation.predictions().assign(**more))
    write_result(run, fold_accuracy=scores["fold_accuracy"])
