"""What every run that evaluates a network holds, under the same names: a training's, and those of `evaluate`."""

import json
import time
from collections.abc import Mapping
from types import MappingProxyType

import keras
import numpy as np

from imagelab.data.dataset import Dataset, Split
from imagelab.evaluation.scores import Evaluation
from imagelab.figures.confusion import draw_confusion, explore_confusion
from imagelab.figures.curves import draw_calibration
from imagelab.figures.galleries import draw_predictions
from imagelab.tracking import Run

GALLERY = 40
TEST, VALIDATION, GIVEN = "test", "val", "images"  # what a network is evaluated on; metrics begin so
WORDS = {TEST: "test split", VALIDATION: "validation split", GIVEN: "given images"}
CONTEXTS = {TEST: "test", VALIDATION: "validation", GIVEN: "given images"}  # in which MLflow lists data sets of a run


def evaluation_of(dataset: Dataset, labels: np.ndarray, probabilities: np.ndarray) -> Evaluation:
    """What a network says of images of a data set, with the names of its classes."""
    return Evaluation(labels, probabilities, dataset.class_names, dataset.superclasses, dataset.superclass_names)


def input_of(dataset: Dataset, split: Split, context: str) -> dict[str, str]:
    """A part of a data set as `Run.log_inputs` takes it."""
    profile = {"sha256_of_the_whole_data_set": dataset.digest}
    return described_input(f"{dataset.name}-{context}", dataset.digest, dataset.source, split, profile)


def described_input(
    name: str, digest: str, source: str, split: Split, profile: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """An MLflow `Dataset`; its digest field holds 36 characters, so a whole one stands in the profile and a tag."""
    shape = {"images": list(split.images.shape), "labels": list(split.labels.shape), "dtype": "uint8"}
    return {
        "name": name,
        "digest": digest[:36],
        "source_type": "local",
        "source": json.dumps({"uri": source}),
        "profile": json.dumps({**shape, **profile}),
    }


def report_answers(run: Run, evaluation: Evaluation, images: np.ndarray, network: str, part: str) -> None:
    """A row an image, tables, figures and galleries of what a network says; arguments as of `report_summary`."""
    run.log_table("evaluation/predictions.parquet", evaluation.predictions())
    report_summary(run, evaluation, images, network, part)


def report_summary(run: Run, evaluation: Evaluation, images: np.ndarray, network: str, part: str) -> None:
    """Tables, figures and galleries of what a network says of images.

    Args:
        images: uint8 (n, height, width, channels), in the order of `evaluation`.
        network: the network in words, as titles name it ("basic_cnn on digits").
        part: the images in words ("test split").
    """
    for name, table in evaluation.tables().items():
        run.log_table(f"evaluation/{name}.csv", table)
    draw_evaluation(run, evaluation, f"{network}: {part}, accuracy {evaluation.correct.mean():.2%}")
    if evaluation.superclasses:
        coarse = np.arange(len(evaluation.superclass_names))
        title = f"{network}: superclasses on the {part}, accuracy {evaluation.in_superclass.mean():.2%}"
        figure = draw_confusion(evaluation.superclass_confusion, coarse, [], title)
        run.log_figure("figures/superclass_confusion_matrix.png", figure)
    surest_first = np.argsort(-evaluation.confidence, kind="stable")
    for name, chosen in {"correct": evaluation.correct, "incorrect": ~evaluation.correct}.items():
        shown = surest_first[chosen[surest_first]][:GALLERY]
        figure = draw_predictions(
            images[shown],
            evaluation.labels[shown],
            evaluation.predicted[shown],
            evaluation.confidence[shown],
            evaluation.class_names,
            f"{network}: {name} on the {part}, the most confident first",
        )
        run.log_figure(f"figures/{name}.png", figure)


def draw_evaluation(run: Run, evaluation: Evaluation, title: str) -> None:
    order = evaluation.display_order()
    groups = [evaluation.superclass_names[i] for i in evaluation.superclasses]
    run.log_figure("figures/confusion_matrix.png", draw_confusion(evaluation.confusion, order, groups, title))
    run.log_page("figures/confusion_matrix.html", explore_confusion(evaluation.confusion, order, title))
    run.log_figure("figures/calibration.png", draw_calibration(evaluation.calibration(), title))


def report_model(
    run: Run, network: keras.Model, dataset: Dataset, scores: Mapping[str, float], step: int = 0, at: int | None = None
) -> None:
    """The network as the run's model, with its scores on the test split.

    Args:
        step, at: the epoch that the network is of, and when that was complete, in milliseconds since 1970.
    """
    folder = run.folder / "artifacts"
    folder.mkdir(exist_ok=True)
    network.save(folder / "model.keras")
    np.save(folder / "example.npy", dataset.test.images[:1])
    run.log_model(
        step=step,
        timestamp=at or round(time.time() * 1000),
        values={f"test_{name}": score for name, score in scores.items()},
        dataset=f"{dataset.name}-test",
        digest=dataset.digest[:36],
        class_names=list(dataset.class_names),
        superclass_of=[dataset.superclass_names[i] for i in dataset.superclasses],
    )
