"""The command `ensemble` on one page: finished networks, the average of what they say, and a run about both."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from imagelab.console import say
from imagelab.data.dataset import Dataset, Split
from imagelab.data.split import SplitSpec
from imagelab.ensemble.members import Member, find_members
from imagelab.ensemble.report import Answers, Outcome, conclude, report_members
from imagelab.errors import SettingsError
from imagelab.evaluation.ensembles import average, fit_weights
from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation_report import (
    CONTEXTS,
    TEST,
    VALIDATION,
    WORDS,
    evaluation_of,
    input_of,
    report_answers,
    report_model,
)
from imagelab.models import ENSEMBLE
from imagelab.models.ensemble import weighted_average
from imagelab.registry.loaded_model import LoadedModel
from imagelab.registry.version_comparison import checked_split, data_of
from imagelab.registry.version_scores import probabilities_of
from imagelab.reporting import SERVED_MODEL, SIDE_BY_SIDE, report_network
from imagelab.settings import EnsembleSettings
from imagelab.tracking import Run, failure_noted, log_split, operation_run, show_side_by_side, use_tracking_store

if TYPE_CHECKING:
    from imagelab.tracking import Client


def ensemble(settings: EnsembleSettings) -> str:
    """Make one network of several, in a run of its own that can be promoted; return what came out, in words.

    Raises:
        SettingsError: there are no such runs, or they do not go together.
        RegistryError: files of a network are missing or damaged, or this machine has another data set.
    """
    client = use_tracking_store()
    with failure_noted(client, "final"):
        subject = subject_of(client, settings)
    params = settings.model_dump(mode="json")
    with operation_run(client, ENSEMBLE, subject.title, params, subject.tags, SERVED_MODEL) as run:
        return ensemble_in(run, subject)


@dataclass(frozen=True)
class Subject:
    """What an ensemble is made of.

    Attributes:
        models: the members' networks, in their order.
        split: without folds: its validation images were kept from every member.
    """

    members: Sequence[Member]
    models: Sequence[LoadedModel]
    dataset: Dataset
    split: SplitSpec
    settings: EnsembleSettings

    @property
    def title(self) -> str:
        how = "" if self.settings.weights == "equal" else ", weighted"
        return f"{len(self.members)} networks on {self.dataset.name}{how}"

    @property
    def record(self) -> dict[str, object]:
        """What decides the result: as the typed settings of a training, by which runs are compared."""
        runs = ",".join(sorted(member.run_id for member in self.members))
        split = {name: value for name, value in asdict(self.split).items() if not name.startswith("fold")}
        named = {"dataset": self.dataset.name, "model": ENSEMBLE}
        return {**named, "runs": runs, "weights": self.settings.weights, **split}

    @property
    def tags(self) -> dict[str, str]:
        named = {"dataset": self.dataset.name, "model": ENSEMBLE, "dataset_digest": self.dataset.digest}
        return {"role": "final", **named, "settings": json.dumps(self.record)}

    def evaluation(self, part: str, probabilities: np.ndarray) -> Evaluation:
        return evaluation_of(self.dataset, self.parts[part].labels, probabilities)

    @cached_property
    def parts(self) -> dict[str, Split]:
        return {VALIDATION: self.split.split(self.dataset.train)[1], TEST: self.dataset.test}


def subject_of(client: "Client", settings: EnsembleSettings) -> Subject:
    """The members' networks and their data set, before a run is opened."""
    members = find_members(client, settings)
    dataset, _ = data_of(client, members[0].named, settings.data_dir)
    models = []
    for member in members:
        checked_split(client, member.named.run, dataset, member.named.uri)
        say(f"loading {member.label}")
        models.append(member.named.load())
        if tuple(models[-1].served.class_names) != dataset.class_names:
            raise SettingsError(
                f"run {member.run_id}: its classes are other ones than those of {dataset.name} here, or in another "
                "order; all members must have the same; train it again"
            )
    return Subject(members, models, dataset, members[0].kept_out, settings)


def ensemble_in(run: Run, subject: Subject) -> str:
    """What happens inside the run: ask the members, weigh and average their answers, report."""
    log_subject(run, subject)
    alone = [ask(subject, number) for number in range(len(subject.members))]
    weights = weights_of(subject, alone)
    together = {
        part: subject.evaluation(part, average([each[part].probabilities for each in alone], weights))
        for part in subject.parts
    }
    counts = [model.network.count_params() for model in subject.models]
    outcome = Outcome(subject.title, subject.members, counts, weights, alone, together)
    report_members(run, outcome)
    report_ensemble(run, subject, together, weights)
    return conclude(run, outcome)


def log_subject(run: Run, subject: Subject) -> None:
    """The typed settings, the split, and on which images which networks answer."""
    run.log_text("settings.json", json.dumps(subject.record, indent=2))
    log_split(run, subject.split)
    inputs = {CONTEXTS[part]: input_of(subject.dataset, split, CONTEXTS[part]) for part, split in subject.parts.items()}
    run.log_inputs(inputs, *(member.named.model_id for member in subject.members))


def ask(subject: Subject, number: int) -> Answers:
    """What a member says of the validation and the test images."""
    label, compute, size = subject.members[number].label, subject.models[number].compute, subject.settings.batch_size
    return {
        part: subject.evaluation(part, probabilities_of(compute, split.images, f"{label}, {WORDS[part]}", size))
        for part, split in subject.parts.items()
    }


def weights_of(subject: Subject, alone: Sequence[Answers]) -> list[float]:
    if subject.settings.weights == "equal":
        return [1 / len(alone)] * len(alone)
    known = [answers[VALIDATION].probabilities for answers in alone]
    return fit_weights(subject.parts[VALIDATION].labels, known)


def report_ensemble(run: Run, subject: Subject, together: Answers, weights: Sequence[float]) -> None:
    """What a training's run holds, too: figures, tables, galleries, and the network that can be promoted."""
    network = weighted_average([model.network for model in subject.models], weights)
    report_network(run, network)
    report_answers(run, together[TEST], subject.dataset.test.images, f"ensemble of {subject.title}", WORDS[TEST])
    now = round(time.time() * 1000)
    for name in SIDE_BY_SIDE[1:]:  # it has no curves
        show_side_by_side(run, name, now)
    accuracy = together[VALIDATION].scores()["accuracy"]
    run.log_metrics({"best_val_accuracy": accuracy, "parameter_count": network.count_params()})
    report_model(run, network, subject.dataset, together[TEST].scores())
