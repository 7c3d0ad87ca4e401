"""What a run holds and under which names: brings evaluation, figures and tracking together for experiment.py."""

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imagelab.console import say
from imagelab.files import write_durably
from imagelab.tracking import Run

if TYPE_CHECKING:
    import keras

    from imagelab.data.dataset import Dataset, Split
    from imagelab.evaluation import Evaluation
    from imagelab.features import Spent

GALLERY = 40
CONTEXTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Result:
    """What is left to say when a run is finished."""

    best_epoch: int
    best_val_accuracy: float
    test_accuracy: float
    training_seconds: float
    run_id: str
    address: str

    def __str__(self) -> str:
        return (
            f"run {self.run_id}: best epoch {self.best_epoch}, validation accuracy {self.best_val_accuracy:.2%}, "
            f"test accuracy {self.test_accuracy:.2%}, {self.training_seconds:.0f} s of training; "
            f"look at it: {self.address}"
        )


def result_of(run: Run) -> Result:
    """The result that a completed training has left behind."""
    known = json.loads((run.folder / "result.json").read_text())
    result = Result(**known, run_id=run.run_id, address=run.address)
    run.conclusion = str(result)
    return result


def report_data(run: Run, dataset: "Dataset", fitted: "Split", validated: "Split") -> None:
    """Digest, splits as dataset inputs, class balance and a sample of each class."""
    from imagelab.figures import draw_samples

    run.log_tags(dataset_digest=dataset.digest, phase="train")
    splits = dict(zip(CONTEXTS, (fitted, validated, dataset.test), strict=True))
    run.log_inputs({context: input_of(dataset, split, context) for context, split in splits.items()})
    balance = {context: np.bincount(split.labels, minlength=dataset.num_classes) for context, split in splits.items()}
    run.log_table("data/class_balance.csv", pd.DataFrame({"class": dataset.class_names, **balance}))
    title = f"{dataset.name}: the first training image of each class"
    figure = draw_samples(dataset.train.images, dataset.train.labels, dataset.class_names, title)
    run.log_figure("figures/samples.png", figure)
    say(
        f"{dataset.name}: {len(fitted):,} images to learn from, {len(validated):,} to choose by, "
        f"{len(dataset.test):,} to test; {dataset.source}"
    )


def input_of(dataset: "Dataset", split: "Split", context: str) -> dict[str, str]:
    """An MLflow `Dataset`; its digest field holds 36 characters, so the whole one stands in the profile and a tag."""
    shape = {"images": list(split.images.shape), "labels": list(split.labels.shape), "dtype": "uint8"}
    return {
        "name": f"{dataset.name}-{context}",
        "digest": dataset.digest[:36],
        "source_type": "local",
        "source": json.dumps({"uri": dataset.source}),
        "profile": json.dumps({**shape, "sha256_of_the_whole_data_set": dataset.digest}),
    }


def report_network(run: Run, model: "keras.Model", policy: str) -> None:
    text = io.StringIO()
    model.summary(print_fn=lambda line, **_: text.write(f"{line}\n"), line_length=100)
    run.log_text("model_summary.txt", text.getvalue())
    run.log_params({"dtype_policy": policy})
    go_on = ", going on after its last complete epoch" if run.resumed else ""
    say(f"run {run.run_id}: {model.name}, {model.count_params():,} parameters, {policy}{go_on}")


def report_features(run: Run, spent: "Spent", weights_digest: str) -> None:
    """What the features have cost this run, what the cache has saved it, and whose features they are.

    What a resumed run finds in the cache is its own earlier work.
    """
    path = run.checkpoint_folder / "feature_seconds.json"
    first = {"feature_seconds": 0.0, "feature_seconds_saved": spent.saved}
    seconds = json.loads(path.read_text()) if path.exists() else first
    seconds["feature_seconds"] += spent.computing
    write_durably(path, json.dumps(seconds))
    run.log_params({"weights_digest": weights_digest})
    run.log_metrics(seconds, 0)
    found = f"; {spent.saved:.0f} s saved by features from the cache" if spent.saved else ""
    say(f"features: {spent.computing:.0f} s{found}")


def report_training(run: Run, model: "keras.Model", rows: list[dict[str, Any]], best: dict[str, Any]) -> None:
    """The single figures of the training, its curves and its checkpoints."""
    from imagelab.figures import draw_curves, explore_curves

    totals = {
        "best_epoch": best["epoch"],
        "best_val_accuracy": best["val_accuracy"],
        "training_seconds": sum(row["epoch_seconds"] for row in rows),
    }
    run.log_metrics({**totals, "parameter_count": model.count_params()}, best["epoch"], best["timestamp"])
    run.log_table("curves.csv", pd.DataFrame(rows))
    run.log_figure("figures/curves.png", draw_curves(rows, best["epoch"], run.title))
    run.log_page("figures/curves.html", explore_curves(rows, best["epoch"], run.title))
    run.log_checkpoints()
    write_result(run, **totals)


def write_result(run: Run, **values: float) -> None:
    path = run.folder / "result.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    write_durably(path, json.dumps(known | values))


def report_evaluation(
    run: Run, evaluation: "Evaluation", dataset: "Dataset", model: "keras.Model", best: dict[str, Any]
) -> None:
    """Scores, tables, figures and galleries of the test split, and the network as the run's model."""
    for name, table in evaluation.tables().items():
        run.log_table(f"evaluation/{name}.csv", table)
    run.log_table("evaluation/predictions.parquet", evaluation.predictions())
    draw_evaluation(run, evaluation, dataset)
    scores = evaluation.scores()
    folder = run.folder / "artifacts"
    model.save(folder / "model.keras")
    np.save(folder / "example.npy", dataset.test.images[:1])
    run.log_model(
        step=best["epoch"],
        timestamp=best["timestamp"],
        values={f"test_{name}": score for name, score in scores.items()},
        dataset=f"{dataset.name}-test",
        digest=dataset.digest[:36],
        class_names=list(dataset.class_names),
        superclass_of=[dataset.superclass_names[i] for i in dataset.superclasses],
    )
    write_result(run, test_accuracy=scores["accuracy"])


def draw_evaluation(run: Run, evaluation: "Evaluation", dataset: "Dataset") -> None:
    from imagelab.figures import draw_calibration, draw_confusion, draw_predictions, explore_confusion

    title = f"{run.title}: test split, accuracy {evaluation.correct.mean():.2%}"
    order = evaluation.display_order()
    groups = [dataset.superclass_names[i] for i in dataset.superclasses]
    run.log_figure("figures/confusion_matrix.png", draw_confusion(evaluation.confusion, order, groups, title))
    run.log_page("figures/confusion_matrix.html", explore_confusion(evaluation.confusion, order, title))
    if dataset.superclasses:
        coarse = np.arange(len(dataset.superclass_names))
        title_of = f"{run.title}: superclasses on the test split, accuracy {evaluation.in_superclass.mean():.2%}"
        figure = draw_confusion(evaluation.superclass_confusion, coarse, [], title_of)
        run.log_figure("figures/superclass_confusion_matrix.png", figure)
    run.log_figure("figures/calibration.png", draw_calibration(evaluation.calibration(), title))
    surest_first = np.argsort(-evaluation.confidence, kind="stable")
    for name, chosen in {"correct": evaluation.correct, "incorrect": ~evaluation.correct}.items():
        shown = surest_first[chosen[surest_first]][:GALLERY]
        figure = draw_predictions(
            dataset.test.images[shown],
            evaluation.labels[shown],
            evaluation.predicted[shown],
            evaluation.confidence[shown],
            dataset.class_names,
            f"{run.title}: {name} on the test split, the most confident first",
        )
        run.log_figure(f"figures/{name}.png", figure)
