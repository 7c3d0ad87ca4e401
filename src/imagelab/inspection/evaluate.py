"""The command `evaluate` on one page: a trained network, images that it did not learn from, and a run about both."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imagelab.console import printable, say
from imagelab.data.dataset import Dataset, Split, sha256_of
from imagelab.data.split import SplitSpec
from imagelab.evaluation.effects import Effect
from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation.temperature import fit_temperature, soften
from imagelab.evaluation.test_time_augmentation import over_views
from imagelab.evaluation_report import (
    CONTEXTS,
    GIVEN,
    TEST,
    VALIDATION,
    WORDS,
    described_input,
    evaluation_of,
    input_of,
    report_answers,
    report_model,
)
from imagelab.inspection.evaluation_findings import Outcome, report_drift, report_findings, report_given
from imagelab.models.calibrated import with_temperature
from imagelab.prediction.labelled_images import LabelledImages, read_labelled_images
from imagelab.registry.loaded_model import LoadedModel
from imagelab.registry.named_model import NamedModel, find_named_model
from imagelab.registry.version_comparison import data_of
from imagelab.registry.version_scores import probabilities_of
from imagelab.reporting import SERVED_MODEL
from imagelab.settings import EvaluateSettings
from imagelab.tracking import (
    Run,
    failure_noted,
    log_description,
    log_split,
    model_of,
    operation_run,
    use_tracking_store,
)

if TYPE_CHECKING:
    from imagelab.tracking import Client


def evaluate(settings: EvaluateSettings) -> str:
    """Evaluate a network in a run of its own; return what came out, in words.

    Raises:
        SettingsError: there is no such network, or nothing to evaluate it on.
        RegistryError: its files are missing or damaged, or this machine has another data set.
    """
    client = use_tracking_store()
    with failure_noted(client, "evaluation"):
        subject = subject_of(client, settings)
    images = f"images of {settings.images.name}" if settings.images else WORDS[subject.target]
    title, params = f"{subject.title}, {printable(images)}", settings.model_dump(mode="json")
    with operation_run(client, "evaluation", title, params, subject.tags, SERVED_MODEL) as run:
        return evaluate_in(run, subject)


def subject_of(client: "Client", settings: EvaluateSettings) -> "Subject":
    """The network that is named, its data set and the user's images, before a run is opened."""
    named = find_named_model(client, settings.run_id, settings.model_uri)
    dataset, split = data_of(client, named, settings.data_dir)
    model = named.load()
    given = None
    if settings.images:
        given = read_labelled_images(settings.images, dataset.class_names, settings.label_column, model.served)
    return Subject(named, model, dataset, split, given, settings)


@dataclass(frozen=True)
class Subject:
    """What is evaluated, on what.

    Attributes:
        split: which training images the network has learned from, and which it was chosen by.
        given: the user's own images; None: a part of the data set.
    """

    named: NamedModel
    model: LoadedModel
    dataset: Dataset
    split: SplitSpec
    given: LabelledImages | None
    settings: EvaluateSettings

    @property
    def title(self) -> str:
        tta = self.settings.tta
        how = ", calibrated" if self.settings.calibrate else "" if tta == "none" else f", tta={tta}"
        return f"{self.named.architecture} on {self.named.dataset}{how}"

    @property
    def tags(self) -> dict[str, str]:
        return self.named.tags("evaluated", self.dataset.digest)

    @property
    def target(self) -> str:
        """The part that tables and figures are about."""
        return GIVEN if self.given else VALIDATION if self.settings.split == "validation" else TEST

    @property
    def given_path(self) -> Path:
        return self.settings.images or Path()

    @cached_property
    def training_parts(self) -> tuple[Split, Split]:
        return self.split.split(self.dataset.train)

    @cached_property
    def parts(self) -> dict[str, Split]:
        """The images that the network is asked about, the target first."""
        known = {TEST: self.dataset.test, VALIDATION: self.training_parts[1]}
        if self.given:
            known[GIVEN] = Split(self.given.images, self.given.labels)
        needed = [self.target, *((VALIDATION,) if self.given else ())]
        if self.settings.calibrate or self.settings.tta != "none":
            needed += [VALIDATION, TEST]
        return {part: known[part] for part in dict.fromkeys(needed)}

    def input_of(self, part: str) -> dict[str, str]:
        """A part as `Run.log_inputs` takes it."""
        split = self.parts[part]
        if part != GIVEN:
            return input_of(self.dataset, split, CONTEXTS[part])
        path, digest = self.given_path, sha256_of(split.images, split.labels)
        return described_input(path.name, digest, str(path), split)

    def evaluation(self, part: str, probabilities: np.ndarray) -> Evaluation:
        return evaluation_of(self.dataset, self.parts[part].labels, probabilities)


def evaluate_in(run: Run, subject: Subject) -> str:
    """What happens inside the run: ask, change the answers if that is wanted, report."""
    log_split(run, subject.split)
    run.log_inputs({CONTEXTS[part]: subject.input_of(part) for part in subject.parts}, subject.named.model_id)
    before, milliseconds = ask(subject, subject.model.compute)
    effects, temperature = changed(subject, before, milliseconds)
    final = {part: effect.after for part, effect in effects.items()} or before
    target = subject.target
    report_answers(run, final[target], subject.parts[target].images, subject.title, WORDS[target])
    model_id = subject.named.model_id if temperature is None else log_calibrated(run, subject, final, temperature)
    tta = subject.settings.tta
    for part, evaluation in (before if tta != "none" else final).items():
        if temperature is None or part != TEST:  # these are logged with the calibrated network
            log_scores(run, subject, part, evaluation, model_id)
    outcome = Outcome(subject.title, subject.named.run, subject.target, final, effects, tta, temperature, model_id)
    return conclude(run, subject, outcome)


def log_scores(run: Run, subject: Subject, part: str, evaluation: Evaluation, model_id: str) -> None:
    """The scores of a part, for MLflow those of the network, too; what several views give is none of its own."""
    fields = subject.input_of(part)
    scores = {f"{part}_{name}": score for name, score in evaluation.scores().items()}
    run.log_metrics(scores, model_id=model_id, dataset=fields["name"], digest=fields["digest"])


def conclude(run: Run, subject: Subject, outcome: Outcome) -> str:
    """Log what was found out, and say it."""
    lines = report_findings(run, outcome)
    if subject.given:
        lines += report_given(run, subject.given, subject.dataset, subject.given_path.name)
        lines += report_drift(run, subject.training_parts[0], subject.given, outcome)
    log_description(run, "\n".join(f"- {line}" for line in lines))
    return "\n".join([*lines, f"run {run.run_id}; look at it: {run.address}"])


def ask(
    subject: Subject, network: Callable[[np.ndarray], np.ndarray], what: str = ""
) -> tuple[dict[str, Evaluation], dict[str, float]]:
    """What a network says of every part, and the milliseconds that it takes for an image."""
    evaluations, milliseconds, size = {}, {}, subject.settings.batch_size
    for part, split in subject.parts.items():
        network(split.images[:size])  # the first call with as many images is slower
        began = time.perf_counter()
        probabilities = probabilities_of(network, split.images, f"{WORDS[part]}{what}", size)
        milliseconds[part] = 1000 * (time.perf_counter() - began) / len(split)
        evaluations[part] = subject.evaluation(part, probabilities)
    return evaluations, milliseconds


def changed(
    subject: Subject, before: dict[str, Evaluation], milliseconds: dict[str, float]
) -> tuple[dict[str, Effect], float | None]:
    """What test-time augmentation, or a temperature, makes of the answers; and the temperature, if there is one."""
    if (tta := subject.settings.tta) != "none":
        after, longer = ask(subject, over_views(subject.model.compute, tta), f", tta={tta}")
        return {p: Effect(before[p], after[p], (milliseconds[p], longer[p])) for p in subject.parts}, None
    if not subject.settings.calibrate:
        return {}, None
    validation = before[VALIDATION]
    temperature = fit_temperature(validation.labels, validation.probabilities)
    softened = {p: subject.evaluation(p, soften(before[p].probabilities, temperature)) for p in subject.parts}
    return {part: Effect(before[part], softened[part]) for part in subject.parts}, temperature


def log_calibrated(run: Run, subject: Subject, final: dict[str, Evaluation], temperature: float) -> str:
    """Log the calibrated network as a model that can be promoted; its id."""
    network = with_temperature(subject.model.network, temperature)
    run.log_metrics({"best_val_accuracy": final[VALIDATION].scores()["accuracy"], "temperature": temperature})
    report_model(run, network, subject.dataset, final[TEST].scores())
    say("logging the calibrated network")
    run.flush()
    return str(model_of(run.client, run.client.get_run(run.run_id)))
