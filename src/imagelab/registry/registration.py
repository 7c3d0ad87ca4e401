"""How a logged model becomes a version of a registered model: once, however often and by however many it is asked."""

import json
from contextlib import suppress
from typing import Any

from imagelab.errors import RegistryError, TrackingError
from imagelab.registry.candidates import Candidate
from imagelab.registry.find_version import find_version
from imagelab.registry.model_files import DIGEST, digest_of, fetched, fetched_version
from imagelab.registry.registered_model import RegisteredModel
from imagelab.tracking import pages, request, this_process, was_here_and_died

SHOWN = "mlflow.modelVersions"  # where MLflow's page of a logged model looks for its versions
REGISTERED_BY = "registered_by"  # tag of a version: the process that made it
TRIES = 100
Version = Any


def register_once(model: RegisteredModel, candidate: Candidate) -> str:
    """The version of the candidate's model.

    Which one it is stands in the history, where it can be written once. So when two processes have made a version each,
    both take the same one, and the other is removed by who made it (or, if that has died, by the next one).

    Raises:
        RegistryError: the model's files are missing or damaged; nothing is registered then.
    """
    key = f"version.{candidate.model_id}"
    for _ in range(TRIES):
        times, decided = model.history.read().version_of(candidate.model_id)
        versions = versions_of(model, candidate.model_id)
        if decided and (kept := [version for version in versions if str(version.version) == decided]):
            remove_others(model, versions, decided)
            with fetched_version(kept[0]):
                return decided
        made = versions[0] if versions else create_version(model, candidate)
        model.history.note(f"{key}.{times + 1}", str(made.version))
    raise RegistryError(f"{model.name}: the version of run {candidate.run_id} is deleted again and again")


def versions_of(model: RegisteredModel, model_id: str) -> list[Version]:
    """The versions with this logged model, the oldest first; some may have been registered by hand."""
    found = pages(model.client.search_model_versions, filter_string=f"name = '{model.name}'")
    ours = [version for version in found if version.source == f"models:/{model_id}"]
    return sorted(ours, key=lambda version: int(version.version))


def create_version(model: RegisteredModel, candidate: Candidate) -> Version:
    source = f"models:/{candidate.model_id}"
    with fetched(source) as path:
        digest = digest_of(path)
    tags = {
        DIGEST: digest,
        "dataset_digest": candidate.dataset_digest,
        "best_val_accuracy": candidate.best_val_accuracy,
        REGISTERED_BY: json.dumps(this_process()),
    }
    # Nothing is copied, so there is nothing to wait for; MLflow would say that it waits.
    options = {"run_id": candidate.run_id, "model_id": candidate.model_id, "tags": tags, "await_creation_for": 0}
    made = request(model.client.create_model_version, model.name, source, **options)
    shown = json.dumps([{"name": model.name, "version": made.version}])
    model.attempt(model.client.set_logged_model_tags, candidate.model_id, {SHOWN: shown})
    return made


def remove_others(model: RegisteredModel, versions: list[Version], kept: str) -> None:
    """Remove what this process, or one that has died, has made at the same moment as another one."""
    for version in versions:
        made_by = json.loads(version.tags.get(REGISTERED_BY, "{}"))
        if str(version.version) == kept or not (made_by == this_process() or was_here_and_died(made_by)):
            continue
        now = find_version(model.client, model.name, version.version)
        if now and now.tags.get(REGISTERED_BY) == version.tags[REGISTERED_BY] and not now.aliases:
            with suppress(TrackingError):  # another one has just done so
                request(model.client.delete_model_version, model.name, version.version)
