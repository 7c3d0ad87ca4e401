"""A registered model and its history: made together, or found; one history each, whoever comes first."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagelab.errors import RegistryError, TrackingError
from imagelab.registry.event_log import History
from imagelab.registry.registered_model import RegisteredModel
from imagelab.tracking import code_of, create_history_run, delete_run, is_missing, pages, request, request_or_none

if TYPE_CHECKING:
    from imagelab.tracking import Client

POINTER = "history_run"  # tag of a registered model
HISTORY_CLAIM = "history_claim"  # tag of the registered model that reserves the history of another one; see `adopt`


def find_registered_model(client: "Client", name: str) -> RegisteredModel | None:
    """The registered model, if there is one and it has a history."""
    run_id = tag_of(client, name, POINTER)
    return RegisteredModel(client, name, History(client, name, run_id)) if run_id else None


def registered_models(client: "Client") -> Iterator[RegisteredModel]:
    """Every registered model that has a history."""
    for model in pages(client.search_registered_models):
        if run_id := model.tags.get(POINTER):
            yield RegisteredModel(client, model.name, History(client, model.name, run_id))


def open_registered_model(client: "Client", name: str) -> RegisteredModel:
    """The registered model; it, or its history, is made where there is none."""
    if found := find_registered_model(client, name):
        return found
    run_id = create_history_run(client, name)
    if not create_once(client, name, POINTER, run_id):  # another process was faster, or it was made by hand
        adopt(client, name, run_id)
    found = find_registered_model(client, name)
    if found is None:
        raise RegistryError(f"{name}: this registered model was deleted a moment ago; try again")
    if found.history.run_id != run_id:
        delete_run(client, run_id)
    return found


def create_once(client: "Client", name: str, tag: str, run_id: str) -> bool:
    """Whether this call has made the registered model; if not, there was one. Of several at once, one makes it."""
    try:
        request(client.create_registered_model, name, tags={tag: run_id})
    except TrackingError as error:
        # MLflow looks at the one that is there, and finds none where another process has just deleted it
        if "ALREADY_EXISTS" not in code_of(error) and not is_missing(error):
            raise
        return False
    return True


def adopt(client: "Client", name: str, run_id: str) -> None:
    """Give a registered model that was made by hand one history, though several processes may want to at once.

    Its tag can be overwritten, so it decides nothing; but a registered model can be created only once. So who creates a
    second one, for a moment, decides which history it is. It is removed only after the tag is set, and the tag is
    looked at after it: so nobody sets another tag.
    """
    claim = f"{name} (history)"
    create_once(client, claim, HISTORY_CLAIM, run_id)
    chosen = tag_of(client, claim, HISTORY_CLAIM)
    if chosen and find_registered_model(client, name) is None:
        request(client.set_registered_model_tag, name, POINTER, chosen)
    request_or_none(client.delete_registered_model, claim)  # unless another process has just done so


def tag_of(client: "Client", name: str, tag: str) -> str | None:
    """A tag of a registered model; None where either is not there."""
    found = request_or_none(client.get_registered_model, name)
    return found.tags.get(tag) if found else None
