"""The champion goes back to the previous version, or to any other one."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from imagelab.console import say
from imagelab.errors import RegistryError, SettingsError, TrackingError
from imagelab.registry.aliases import RegisteredModel
from imagelab.registry.artifacts import let_it_answer
from imagelab.registry.history import Aliases, Event, Log
from imagelab.registry.opening import open_registered_model
from imagelab.registry.promotion import show_history
from imagelab.registry.report import typed
from imagelab.registry.verdict import who
from imagelab.registry.versions import fetched_version, find_version
from imagelab.settings import RollbackSettings
from imagelab.tracking import Audit, ask, audited_run, is_missing, use_tracking_store

if TYPE_CHECKING:
    from imagelab.tracking import Client

TRIES = 50


def roll_back(settings: RollbackSettings) -> str:
    """Swap champion and previous, or go to `to_version`; return the line that says what came out.

    Raises:
        SettingsError: there is nothing to go back to.
        RegistryError: the version's files are missing or damaged; no alias has moved.
    """
    client = use_tracking_store()
    if settings.history:
        return show_history(client, settings)
    with audited_run(client, "rollback", settings.registered_model, settings.as_params()) as audit:
        model = existing_model(client, settings.registered_model)
        to_version = None if settings.to_version is None else str(settings.to_version)
        return roll_back_model(model, to_version, audit, make_sure_it_answers)


def existing_model(client: "Client", name: str) -> RegisteredModel:
    try:
        ask(client.get_registered_model, name)
    except TrackingError as error:
        if is_missing(error):
            raise SettingsError(f"{name}: there is no registered model of this name; promote one first") from error
        raise
    return open_registered_model(client, name)


def roll_back_model(
    model: RegisteredModel, to_version: str | None, audit: Audit, make_sure: Callable[[RegisteredModel, str], None]
) -> str:
    """Let another version be champion, once `make_sure` has raised nothing about it."""
    log = model.settle()
    if to_version is None and (unheard := unheard_rollback(model, log, who(audit))):
        audit.log_tags(verdict="completed")
        return f"{unheard}; nothing else moved: type it again to swap back; serve it: {typed('serve', model.name)}"
    champion = log.aliases.champion
    target = to_version or other_version(model, log.aliases)
    if target != champion:
        make_sure(model, target)
    for _ in range(TRIES):
        log = model.settle()  # to make sure takes a while
        if to_version is None and log.aliases.champion != champion:
            raise RegistryError(f"{model.name}: meanwhile somebody else has moved the champion: {log.aliases}")
        if log.aliases.champion == target:
            audit.log_tags(verdict="unchanged")
            return f"{model.name} version {target} is the champion already; nothing changed"
        event = rollback_event(target, log.aliases, audit)
        if model.history.append(log.number + 1, event):
            model.settle()
            beside = f", version {event.aliases.previous} is previous" if event.aliases.previous else ""
            return f"{model.name} version {target} is champion again{beside}; serve it: {typed('serve', model.name)}"
        say(f"{model.name}: another promotion or rollback was faster; looking again")
    raise RegistryError(f"{model.name}: others were faster {TRIES} times; try again when fewer are at it")


def other_version(model: RegisteredModel, aliases: Aliases) -> str:
    """The version that champion swaps with."""
    if aliases.previous is None:
        raise SettingsError(
            f"{model.name}: there is no previous champion to go back to ({aliases}); name one: -P to_version=N"
        )
    return aliases.previous


def unheard_rollback(model: RegisteredModel, log: Log, by: Mapping[str, str]) -> str | None:
    """What came of a swap whose process died before it could say so, if that is the newest event.

    The same command, typed again by the same person on the same machine, means that one: to swap again would undo it.
    Its run is FINISHED from now on, so that the next rollback is a new one.
    """
    if log.number == 0 or (event := log.event(log.number)).kind != "rollback":
        return None
    if any(event.by.get(key) != by.get(key) for key in ("host", "user")):
        return None
    run_id = event.by["run_id"]
    try:
        run = ask(model.client.get_run, run_id)
    except TrackingError as error:
        if is_missing(error):
            return None
        raise
    swapped = run.data.params.get("to_version") in (None, "None")
    if not swapped or run.info.status in ("FINISHED", "RUNNING") or run.info.lifecycle_stage != "active":
        return None  # another command, one that has said what it did, or one that still lives
    model.attempt(model.client.set_terminated, run_id, "FINISHED")
    return f"{model.name}: the rollback of run {run_id}, which had not ended, is complete: {log.aliases}"


def rollback_event(target: str, aliases: Aliases, audit: Audit) -> Event:
    challenger = None if aliases.challenger == target else aliases.challenger
    facts = {"rollback_run": audit.run_id}
    return Event("rollback", Aliases(target, aliases.champion, challenger), who(audit), facts)


def make_sure_it_answers(model: RegisteredModel, version: str) -> None:
    """Load a version from the registry and ask it, before an alias moves to it.

    Raises:
        SettingsError: there is no such version.
        RegistryError: its files are missing or damaged, or it does not answer.
    """
    if find_version(model.client, model.name, version) is None:
        raise SettingsError(f"to_version={version}: {model.name} has no such version")
    with fetched_version(model, version) as path:
        let_it_answer(path, f"models:/{model.name}/{version}")
