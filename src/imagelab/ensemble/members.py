"""Of which finished trainings an ensemble is made: found in the store, and refused where they do not go together."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imagelab.comparison.selection import select
from imagelab.comparison.training import Training
from imagelab.console import say
from imagelab.data.split import SplitSpec
from imagelab.errors import SettingsError
from imagelab.models import ENSEMBLE
from imagelab.registry.named_model import NamedModel
from imagelab.settings import (
    EnsembleSettings,
    ExperimentSettings,
    Kind,
    SelectionSettings,
    configuration_of,
    names_of_kind,
)
from imagelab.settings.ensemble import FEWEST, MOST
from imagelab.tracking import children_of, model_of, request, split_of, use_tracking_store
from imagelab.tracking.roles import OTHER_ROLES, Role, existing_run, role_of, state_of

if TYPE_CHECKING:
    from imagelab.tracking import Client

MEMBERS: tuple[Role, ...] = ("final", "fold")  # roles of runs that an ensemble can be made of


@dataclass(frozen=True)
class Member:
    """A finished training.

    Attributes:
        split: which training images it has learned from.
        kept_out: the same without folds: whose validation images no fold has learned from, nor chosen by.
    """

    named: NamedModel
    split: SplitSpec

    @property
    def run_id(self) -> str:
        return str(self.named.run.info.run_id)

    @property
    def kept_out(self) -> SplitSpec:
        return replace(self.split, fold=None, folds=None)

    @property
    def label(self) -> str:
        return f"{self.named.architecture} {self.run_id[:8]}"


def refuse_early(settings: EnsembleSettings) -> None:
    """Look the members up before anything slow is imported."""
    find_members(use_tracking_store(), settings)


def find_members(client: "Client", settings: EnsembleSettings) -> list[Member]:
    """The trainings that are named, in the order given; those of `best` with the best first.

    Raises:
        SettingsError: they are too few, or not finished, or do not go together.
    """
    if settings.runs:
        setting, ids = "runs", settings.runs.split(",")
    elif settings.parent:
        setting, ids = "parent", ids_below(client, settings.parent)
    else:
        setting, ids = "best", best_ids(client, settings)
    members = [member_of(client, run_id, setting) for run_id in ids]
    for member in members[1:]:
        refuse_other_images(setting, members[0], member)
    return members


def ids_below(client: "Client", parent: str) -> list[str]:
    """Every finished training below a parent run, in the order in which they began."""
    run = existing_run(client, parent, "parent")
    if (role := role_of(run)) != "parent":
        raise SettingsError(f"parent={parent}: is no parent of other runs, but of the role {role}; name runs by runs=")
    if (state := state_of(run)) != "FINISHED":
        raise SettingsError(f"parent={parent}: is {state}; type its own command again, which goes on with it")
    found = [child for child in request(children_of, client, parent, "FINISHED") if role_of(child) in MEMBERS]
    if not FEWEST <= len(found) <= MOST:
        raise SettingsError(
            f"parent={parent}: has {len(found)} finished trainings below it; an ensemble is made of {FEWEST} to "
            f"{MOST}, which runs=RUN_ID,RUN_ID can name"
        )
    return [child.info.run_id for child in reversed(found)]


def best_ids(client: "Client", settings: EnsembleSettings) -> list[str]:
    """The trainings of an experiment with the highest validation accuracy, of those with the most frequent split.

    As in a comparison, one with `limit` is passed over where there are others, and of equal ones the newest counts.
    """
    assert settings.best is not None
    where = f"experiment={settings.experiment}"
    wanted = SelectionSettings(experiment=settings.experiment, dataset=settings.dataset, all=True)
    try:
        configurations = select(client, wanted).configurations
    except SettingsError as error:
        raise SettingsError(
            f"best={settings.best}: {str(error).removeprefix('there is nothing to compare: ')}"
        ) from error
    selected = [each for configuration in configurations for each in configuration.trainings]
    found = [each for each in selected if each.settings["model"] != ENSEMBLE]
    names = sorted({str(each.settings["dataset"]) for each in found})
    if len(names) > 1:
        raise SettingsError(f"{where}: has trainings of {', '.join(names)}; say which: dataset={names[0]}")
    found = [each for each in found if limit_of(each) is None] or found
    splits = Counter(map(split_key, found))
    alike = [each for each in found if split_key(each) == splits.most_common(1)[0][0]]
    if len(alike) < len(found):
        say(f"{where}: {len(found) - len(alike)} trainings with other validation images are passed over")
    if len(alike) < settings.best:
        raise SettingsError(
            f"best={settings.best}: {where} has {len(alike)} finished trainings of one data set and one split; take "
            "fewer, or train more"
        )
    ranked = sorted(alike, key=lambda each: -each.metrics["best_val_accuracy"])
    return [each.run_id for each in ranked[: settings.best]]


def limit_of(training: Training) -> Any:
    return configuration_of(training.settings)["limit"]


def split_key(training: Training) -> tuple[Any, ...]:
    """Equal for trainings that were chosen by the same images."""
    settings = configuration_of(training.settings)
    return tuple(settings[name] for name in names_of_kind(ExperimentSettings, Kind.SPLIT))


def member_of(client: "Client", run_id: str, setting: str) -> Member:
    """A finished training with its network, by the id of its run."""
    run = existing_run(client, run_id, setting)
    role, state, tags = role_of(run), state_of(run), run.data.tags
    named = f"{setting}={run_id}" if setting == "runs" else f"{setting}: run {run_id}"
    if role not in MEMBERS:
        others: dict[Role, str] = OTHER_ROLES | {"parent": f"the parent of other runs; give parent={run_id}"}
        raise SettingsError(f"{named}: is {others.get(role, f'no training, but a run of the role {role}')}")
    if tags.get("model") == ENSEMBLE:
        raise SettingsError(f"{named}: is an ensemble; name the runs that it is made of")
    if state != "FINISHED":
        raise SettingsError(f"{named}: is {state}; an ensemble is made of finished trainings")
    model_id = model_of(client, run)
    if model_id is None or not {"dataset", "model"} <= tags.keys():
        raise SettingsError(f"{named}: has no model that train has logged")
    return Member(NamedModel(model_id, run), split_of(client, run))


def refuse_other_images(setting: str, first: Member, other: Member) -> None:
    """Two members must be of one data set, and must have kept out the same validation images."""
    digests = [str(each.named.run.data.tags.get("dataset_digest")) for each in (first, other)]
    if (first.named.dataset, digests[0]) != (other.named.dataset, digests[1]):
        raise SettingsError(
            f"{setting}: run {other.run_id} was trained on {other.named.dataset} (digest {digests[1][:12]}), run "
            f"{first.run_id} on {first.named.dataset} (digest {digests[0][:12]}); all must be of one data set"
        )
    if first.kept_out != other.kept_out:
        raise SettingsError(
            f"{setting}: runs {first.run_id} and {other.run_id} have kept out other validation images "
            f"({first.kept_out.in_words()}; {other.kept_out.in_words()}); train one with the other's settings"
        )
