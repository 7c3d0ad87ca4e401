"""A registered model and its history: made together, or found; one history each, whoever comes first."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imagelab.errors import RegistryError, TrackingError
from imagelab.registry.aliases import RegisteredModel
from imagelab.registry.history import History
from imagelab.tracking import ask, code_of, create_history_run, is_missing, pages, runs_of_all

if TYPE_CHECKING:
    from imagelab.tracking import Client

POINTER = "history_run"  # tag of a registered model
DECISION = "decision"  # parameter of a history run: used, or dropped


def find_registered_model(client: "Client", name: str) -> RegisteredModel | None:
    """The registered model, if there is one and it has a history."""
    try:
        run_id = ask(client.get_registered_model, name).tags.get(POINTER)
    except TrackingError as error:
        if is_missing(error):
            return None
        raise
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
    try:
        ask(client.create_registered_model, name, tags={POINTER: run_id})
    except TrackingError as error:
        if "ALREADY_EXISTS" not in code_of(error):
            raise
        if found := find_registered_model(client, name):  # another process was faster
            ask(client.delete_run, run_id)
            return found
        adopt(client, name, run_id)
    found = find_registered_model(client, name)
    if found is None:
        raise RegistryError(f"{name}: this registered model was deleted a moment ago; try again")
    return found


def adopt(client: "Client", name: str, own: str) -> None:
    """Give a registered model that was made by hand one history, though several processes may want to at once.

    A tag can be overwritten, so it decides nothing: a history counts once its run says "used", and whoever wants to say
    so has said "dropped" of every other one before. Each makes its own before it looks, so of two one sees both.
    """
    while (chosen := choose(client, name)) is None:
        if not undecided(history_runs(client, name)):
            own = create_history_run(client, name)
    ask(client.set_registered_model_tag, name, POINTER, chosen)
    if own != chosen:
        ask(client.delete_run, own)


def choose(client: "Client", name: str) -> str | None:
    """The history that is used from now on; None where another process has decided otherwise meanwhile."""
    runs = history_runs(client, name)
    if used := [run.info.run_id for run in runs if run.data.params.get(DECISION) == "used"]:
        return str(used[0])
    for chosen in undecided(runs)[:1]:
        others = [run.info.run_id for run in runs if run.info.run_id != chosen]
        if all(decide(client, run_id, "dropped") for run_id in others) and decide(client, chosen, "used"):
            return chosen
    return None


def undecided(runs: list[Any]) -> list[str]:
    """The oldest first."""
    ordered = sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))
    return [run.info.run_id for run in ordered if DECISION not in run.data.params]


def decide(client: "Client", run_id: str, decision: str) -> bool:
    return History(client, "", run_id).note(DECISION, decision)


def history_runs(client: "Client", name: str) -> list[Any]:
    """Every history that was begun for a registered model of this name, wherever."""
    return list(runs_of_all(client, f"tags.phase = 'history' and tags.registered_model = '{name}'"))
