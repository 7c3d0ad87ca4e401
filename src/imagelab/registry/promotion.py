"""The best run's model becomes champion: registered once, compared with the champion, and written down."""

from dataclasses import fields
from typing import TYPE_CHECKING

from imagelab.console import say
from imagelab.errors import RegistryError, SettingsError
from imagelab.registry.aliases import RegisteredModel
from imagelab.registry.candidates import Candidate, find_candidate
from imagelab.registry.gate import Bounds
from imagelab.registry.history import Aliases, Event
from imagelab.registry.opening import find_registered_model, open_registered_model
from imagelab.registry.report import told, typed
from imagelab.registry.verdict import Compare, pass_gate, who
from imagelab.registry.versions import register_once
from imagelab.settings import PromoteSettings
from imagelab.tracking import Audit, audited_run, leave_wrapper, use_tracking_store

if TYPE_CHECKING:
    from imagelab.settings.promote import RegistrySettings
    from imagelab.tracking import Client

TRIES = 50


def promote(settings: PromoteSettings) -> str:
    """Promote the best run's model, or the named run's; return the line that says what came out.

    Raises:
        RegistryError: the gate refuses it, or a model's files are missing or damaged; `champion` has not moved.
        SettingsError: `run_id` names nothing that can be promoted.
    """
    client = use_tracking_store()
    if settings.history:
        return show_history(client, settings)
    from imagelab.registry.referee import Referee

    name = settings.registered_model
    with audited_run(client, "promotion", name, settings.as_params()) as audit:
        found = find_registered_model(client, name)
        candidate = find_candidate(client, settings, found.history.read().rolled_back if found else {})
        model = open_registered_model(client, name)
        bounds = Bounds(**{bound.name: getattr(settings, bound.name) for bound in fields(Bounds)})
        referee = Referee(client, name, settings.dataset, settings.data_dir)
        return promote_candidate(model, candidate, audit, bounds, referee.compare)


def show_history(client: "Client", settings: "RegistrySettings") -> str:
    leave_wrapper("delete")  # a look is no run
    model = find_registered_model(client, settings.registered_model)
    if model is None:
        name = settings.registered_model
        raise SettingsError(f"{name}: has no history; begin it with: {typed('promote', name)}")
    return told(model)


def promote_candidate(
    model: RegisteredModel, candidate: Candidate, audit: Audit, bounds: Bounds, compare: Compare
) -> str:
    """Register the candidate and let it become champion if `compare` shows what `bounds` ask for."""
    version = register_once(model, candidate)
    audit.log_tags(challenger=version, challenger_run=candidate.run_id)
    facts: dict[str, str] = {}
    champion = None
    for _ in range(TRIES):
        log = model.settle()
        aliases = log.aliases
        if aliases.champion == version:
            audit.log_tags(verdict="unchanged")
            return f"{model.name} version {version} (run {candidate.run_id}) is the champion already; nothing changed"
        if aliases.challenger != version and not facts:
            challenging = Aliases(aliases.champion, aliases.previous, version)
            model.history.append(log.number + 1, Event("challenger", challenging, who(audit)))
            continue
        if not facts or champion != aliases.champion:
            champion = aliases.champion
            facts = pass_gate(model, version, champion, audit, bounds, compare)
            continue  # comparing takes a while: see where the aliases are now
        remaining = None if aliases.challenger == version else aliases.challenger
        event = Event("promotion", Aliases(version, champion, remaining), who(audit), facts)
        if model.history.append(log.number + 1, event):
            return conclude(model, event)
        say(f"{model.name}: another promotion or rollback was faster; looking again")
    raise RegistryError(f"{model.name}: others were faster {TRIES} times; try again when fewer promote at once")


def conclude(model: RegisteredModel, event: Event) -> str:
    """Move the aliases to where the event, which is written down, wants them."""
    found = model.settle().aliases
    new, old, facts = event.aliases.champion, event.aliases.previous, event.facts
    beside = f", version {old} is previous (accuracy {facts['champion_accuracy']})" if old else ""
    meanwhile = "" if found.champion == new else f"; meanwhile aliases have moved on: {found}"
    said = f"{model.name} version {new} is champion (accuracy {facts['accuracy']}){beside}{meanwhile}"
    return f"{said}; run {event.by['run_id']}; serve it: {typed('serve', model.name)}"
