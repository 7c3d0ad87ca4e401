"""The champion goes back to the previous version, or to any other one."""

from collections.abc import Callable, Mapping

from imagelab.console import say
from imagelab.errors import RegistryError, SettingsError
from imagelab.registry.creation import open_registered_model
from imagelab.registry.event_log import Aliases, Event, Log
from imagelab.registry.gate_report import author_of
from imagelab.registry.loaded_model import load_version
from imagelab.registry.lookup import Lookup
from imagelab.registry.overview import command_for
from imagelab.registry.promotion import show_history
from imagelab.registry.registered_model import RegisteredModel
from imagelab.settings import RollbackSettings
from imagelab.tracking import Run, end_dead_run, operation_run, request_or_none, settings_of, use_tracking_store

TRIES = 50


def roll_back(settings: RollbackSettings) -> str:
    """Swap champion and previous, or go to `to_version`; return the line that says what came out.

    Raises:
        SettingsError: there is nothing to go back to.
        RegistryError: the version's files are missing or damaged; no alias has moved.
    """
    client = use_tracking_store()
    if settings.history:
        return show_history(client, "rollback", settings)
    name = settings.registered_model
    Lookup(client, name, "rollback").aliases()  # fails if there is no such model
    with operation_run(client, "rollback", name, settings.as_params()) as run:
        to_version = None if settings.to_version is None else str(settings.to_version)
        return roll_back_model(open_registered_model(client, name), to_version, run, make_sure_it_answers)


def roll_back_model(
    model: RegisteredModel, to_version: str | None, run: Run, make_sure: Callable[[RegisteredModel, str], None]
) -> str:
    """Let another version be champion, once `make_sure` has raised nothing about it."""
    log = model.reconcile()
    if to_version is None and (unreported := find_unreported_rollback(model, log, author_of(run))):
        run.log_tags(verdict="completed")
        serve = command_for("serve", model.name)
        return f"{unreported}; nothing else moved: type it again to swap back; serve it: {serve}"
    champion = log.aliases.champion
    target = to_version or other_version(model, log.aliases)
    if target != champion:
        make_sure(model, target)
    for _ in range(TRIES):
        log = model.reconcile()  # to make sure takes a while
        if to_version is None and log.aliases.champion != champion:
            raise RegistryError(f"{model.name}: meanwhile somebody else has moved the champion: {log.aliases}")
        if log.aliases.champion == target:
            run.log_tags(verdict="unchanged")
            return f"{model.name} version {target} is the champion already; nothing changed"
        event = rollback_event(target, log.aliases, run)
        if model.history.append(log.number + 1, event):
            model.reconcile()
            beside = f", version {event.aliases.previous} is previous" if event.aliases.previous else ""
            return (
                f"{model.name} version {target} is champion again{beside}; serve it: {command_for('serve', model.name)}"
            )
        say(f"{model.name}: another promotion or rollback was faster; looking again")
    raise RegistryError(f"{model.name}: others were faster {TRIES} times; try again when fewer are at it")


def other_version(model: RegisteredModel, aliases: Aliases) -> str:
    """The version that champion swaps with."""
    if aliases.previous is None:
        raise SettingsError(
            f"{model.name}: there is no previous champion to go back to ({aliases}); name one: -P to_version=N"
        )
    return aliases.previous


def find_unreported_rollback(model: RegisteredModel, log: Log, by: Mapping[str, str]) -> str | None:
    """What came of a swap whose process died before its user could see it, if that is the newest event.

    The same command, typed again by the same person on the same machine, means that one: to swap again would undo it.
    Its run is FINISHED from now on, so that the next rollback is a new one.
    """
    if log.number == 0 or (event := log.event(log.number)).kind != "rollback":
        return None
    if any(event.by.get(key) != by.get(key) for key in ("host", "user")):
        return None
    run_id = event.by["run_id"]
    if (found := request_or_none(model.client.get_run, run_id)) is None:
        return None
    if found.info.status in ("FINISHED", "RUNNING") or found.info.lifecycle_stage != "active":
        return None  # one that has said what it did, or one that still lives
    if settings_of(model.client, found).get("to_version") is not None:
        return None  # another command
    model.attempt(end_dead_run, model.client, run_id, "FINISHED")
    return f"{model.name}: the rollback of run {run_id}, which had not ended, is complete: {log.aliases}"


def rollback_event(target: str, aliases: Aliases, run: Run) -> Event:
    challenger = None if aliases.challenger == target else aliases.challenger
    facts = {"rollback_run": run.run_id}
    return Event("rollback", Aliases(target, aliases.champion, challenger), author_of(run), facts)


def make_sure_it_answers(model: RegisteredModel, version: str) -> None:
    """Load a version from the registry and ask it, before an alias moves to it.

    Raises:
        SettingsError: there is no such version.
        RegistryError: its files are missing or damaged, or it does not answer.
    """
    found = Lookup(model.client, model.name).version(version, "to_version")
    say(f"loading version {version}, to see that it answers")
    load_version(found)
