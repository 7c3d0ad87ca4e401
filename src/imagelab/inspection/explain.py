"""The command `explain` on one page: a trained network, images that it gets right and wrong, and where it looked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from imagelab.comparison.report import render
from imagelab.comparison.results import predictions_of
from imagelab.console import say
from imagelab.data.dataset import Dataset, Split
from imagelab.data.split import SplitSpec
from imagelab.errors import SettingsError
from imagelab.evaluation_report import CONTEXTS, TEST, VALIDATION, WORDS, input_of
from imagelab.explanation.explainer import Explainer
from imagelab.explanation.gallery import Answers, ExplainedImage, classes_to_show, explain_images
from imagelab.figures.picture_rows import draw_picture_rows
from imagelab.inspection.explanation_page import TEMPLATE, picture_rows, sections_of, table_of, words_of
from imagelab.prediction.labelled_images import ClassNumbers, shortened
from imagelab.progress import images_progress
from imagelab.registry.loaded_model import LoadedModel
from imagelab.registry.named_model import NamedModel, find_named_model
from imagelab.registry.version_comparison import data_of
from imagelab.registry.version_scores import probabilities_of
from imagelab.settings import ExplainSettings
from imagelab.tracking import Run, failure_noted, log_description, log_split, operation_run, use_tracking_store

if TYPE_CHECKING:
    from imagelab.tracking import Client

FIGURE, PAGE, TABLE = "figures/explanations.png", "explanation.html", "explained_images.csv"  # artifacts
MOST_NAMED = 100  # classes that an error lists


def explain_model(settings: ExplainSettings) -> str:
    """Explain the answers of a network in a run of its own; return what came out, in words.

    Raises:
        SettingsError: there is no such network, no such class, or the split has no image of it.
        RegistryError: its files are missing or damaged, or this machine has another data set.
    """
    client = use_tracking_store()
    with failure_noted(client, "explanation"):
        subject = subject_of(client, settings)
    params = settings.model_dump(mode="json")
    with operation_run(client, "explanation", f"{subject.title}, {WORDS[subject.part]}", params, subject.tags) as run:
        return explain_in(run, subject)


@dataclass(frozen=True)
class Subject:
    """What is explained.

    Attributes:
        split: which training images the network has learned from, and which it was chosen by.
        part: TEST or VALIDATION.
        images: those of that part.
        classes: numbers of the classes that were named; empty: none.
    """

    named: NamedModel
    model: LoadedModel
    dataset: Dataset
    split: SplitSpec
    part: str
    images: Split
    classes: Sequence[int]
    settings: ExplainSettings

    @property
    def title(self) -> str:
        return f"{self.named.architecture} on {self.named.dataset}"

    @property
    def tags(self) -> dict[str, str]:
        return self.named.tags("explained", self.dataset.digest)


def subject_of(client: "Client", settings: ExplainSettings) -> Subject:
    """The network, the images and the classes that are named, before a run is opened."""
    named = find_named_model(client, settings.run_id, settings.model_uri)
    dataset, split = data_of(client, named, settings.data_dir)
    part = VALIDATION if settings.split == "validation" else TEST
    images = dataset.test if part == TEST else split.split(dataset.train)[1]
    classes = class_numbers(settings.class_list, dataset.class_names, images.labels, WORDS[part])
    return Subject(named, named.load(), dataset, split, part, images, classes, settings)


def class_numbers(given: Sequence[str], class_names: Sequence[str], labels: np.ndarray, part: str) -> list[int]:
    """The numbers of classes by what people write.

    Raises:
        SettingsError: one is unknown, or the part of the data set has no image of it.
    """
    numbers, present = ClassNumbers(class_names), np.unique(labels)
    found = [numbers.find(word) for word in given]
    for word, number in zip(given, found, strict=True):
        if number is None:
            known = shortened(class_names, MOST_NAMED)
            raise SettingsError(f"classes={word[:50]}: there is no such class; there are: {known}")
        if number not in present:
            known = shortened([class_names[each] for each in present], MOST_NAMED)
            raise SettingsError(
                f"classes={word[:50]}: the {part} has no image of this class; it has images of: {known}"
            )
    return list(dict.fromkeys(number for number in found if number is not None))


def explain_in(run: Run, subject: Subject) -> str:
    """What happens inside the run: look for right and wrong answers, explain them, draw."""
    log_split(run, subject.split)
    context = CONTEXTS[subject.part]
    fields = input_of(subject.dataset, subject.images, context)
    run.log_inputs({context: fields}, subject.named.model_id)
    answers = stored_answers(run.client, subject) or computed_answers(subject)
    classes = list(subject.classes) or classes_to_show(answers)
    names = subject.dataset.class_names
    say(f"explaining {shortened([names[each] for each in classes], MOST_NAMED)}")
    most = subject.settings.images_per_class
    chosen = np.concatenate([answers.surest(each, most) for each in classes]).tolist()
    explainer, images, labels = Explainer(subject.model.network), subject.images.images, subject.images.labels
    with images_progress(len(chosen), "explain") as advance:
        explained, method = explain_images(explainer, subject.model.compute, images, labels, chosen, advance)
    report(run, subject, classes, explained, method)
    right = sum(each.is_right for each in explained)
    counts = f"{right} right and {len(explained) - right} wrong answers"
    shown = ", ".join(names[each] for each in classes)
    line = f"{subject.title}, {WORDS[subject.part]}: {method} of {counts}, classes {shown}"
    log_description(run, f"- {line}\n- look at `{FIGURE}` and `{PAGE}`")
    return f"{line}; {FIGURE} and {PAGE} in run {run.run_id}; look at it: {run.address}"


def stored_answers(client: "Client", subject: Subject) -> Answers | None:
    """What the network said of the test images when its run was evaluated; None where that cannot be had."""
    if subject.part != TEST:
        return None
    labels = subject.images.labels
    try:
        with TemporaryDirectory() as place:
            table = predictions_of(client, subject.named.run.info.run_id, Path(place) / "predictions")
    except (KeyError, ValueError, OSError):  # none, or a damaged file: the network can be asked
        return None
    if not np.array_equal(table["label"], labels):  # it was evaluated on other images
        return None
    return Answers(
        np.arange(len(labels)), labels, table["predicted"].to_numpy(np.int64), table["probability"].to_numpy()
    )


def computed_answers(subject: Subject) -> Answers:
    """What the network says of the images of the classes that are named, or of all."""
    labels = subject.images.labels
    indices = np.flatnonzero(np.isin(labels, subject.classes)) if subject.classes else np.arange(len(labels))
    images = subject.images.images[indices]
    probabilities = probabilities_of(subject.model.compute, images, WORDS[subject.part])
    return Answers(indices, labels[indices], probabilities.argmax(axis=1), probabilities.max(axis=1))


def report(
    run: Run, subject: Subject, classes: Sequence[int], explained: Sequence[ExplainedImage], method: str
) -> None:
    """The gallery as figure, page and table."""
    names, part = subject.dataset.class_names, WORDS[subject.part]
    rows = picture_rows(classes, explained, names)
    run.log_figure(FIGURE, draw_picture_rows(rows, f"{subject.title}, {part}: {words_of(method)}"))
    sections = sections_of(classes, explained, names, method)
    subtitle = f"{part}, {len(explained)} images; network: {subject.named.uri}; this explanation: {run.address}"
    run.log_text(PAGE, render(f"Where {subject.title} looks", subtitle, sections, TEMPLATE))
    run.log_table(TABLE, table_of(explained, names, method))
    run.log_metrics({"explained_images": len(explained)})
