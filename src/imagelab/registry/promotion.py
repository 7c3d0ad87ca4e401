"""The best run's model becomes champion: registered once, compared with the champion, and written down."""

from dataclasses import fields
from typing import TYPE_CHECKING

from imagelab.console import say
from imagelab.errors import RegistryError
from imagelab.registry.candidates import Candidate, find_candidate
from imagelab.registry.creation import find_registered_model, open_registered_model
from imagelab.registry.event_log import Aliases, Event
from imagelab.registry.gate import Bounds
from imagelab.registry.gate_report import Compare, author_of, pass_gate
from imagelab.registry.overview import command_for, nothing_to_work_on
from imagelab.registry.registered_model import RegisteredModel
from imagelab.registry.registration import register_once
from imagelab.registry.report import history_text
from imagelab.settings import PromoteSettings
from imagelab.tracking import Run, operation_run, release_project_run, use_tracking_store

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
        return show_history(client, "promote", settings)
    from imagelab.registry.version_comparison import VersionComparison  # late: imports data sets and TensorFlow

    name = settings.registered_model
    known = find_registered_model(client, name)
    candidate = find_candidate(client, settings, known.history.read().rolled_back if known else {})
    with operation_run(client, "promotion", name, settings.as_params()) as run:
        model = open_registered_model(client, name)
        bounds = Bounds(**{bound.name: getattr(settings, bound.name) for bound in fields(Bounds)})
        comparison = VersionComparison(client, name, settings.dataset, settings.data_dir)
        return promote_candidate(model, candidate, run, bounds, comparison.compare)


def show_history(client: "Client", command: str, settings: "RegistrySettings") -> str:
    release_project_run("delete")  # a look is no run
    model = find_registered_model(client, settings.registered_model)
    if model is None:
        name = settings.registered_model
        reason = f"{name} has no history yet: nothing of it was ever promoted"
        raise nothing_to_work_on(client, command, reason)
    return history_text(model)


def promote_candidate(model: RegisteredModel, candidate: Candidate, run: Run, bounds: Bounds, compare: Compare) -> str:
    """Register the candidate and let it become champion if `compare` shows what `bounds` ask for."""
    version = register_once(model, candidate)
    run.log_tags(challenger=version, challenger_run=candidate.run_id)
    facts: dict[str, str] = {}
    champion = None
    for _ in range(TRIES):
        log = model.reconcile()
        aliases = log.aliases
        if aliases.champion == version:
            run.log_tags(verdict="unchanged")
            return f"{model.name} version {version} (run {candidate.run_id}) is the champion already; nothing changed"
        if aliases.challenger != version and not facts:
            challenging = Aliases(aliases.champion, aliases.previous, version)
            model.history.append(log.number + 1, Event("challenger", challenging, author_of(run)))
            continue
        if not facts or champion != aliases.champion:
            champion = aliases.champion
            facts = pass_gate(model, version, champion, run, bounds, compare)
            continue  # comparing takes a while: see where the aliases are now
        remaining = None if aliases.challenger == version else aliases.challenger
        event = Event("promotion", Aliases(version, champion, remaining), author_of(run), facts)
        if model.history.append(log.number + 1, event):
            return conclude(model, event)
        say(f"{model.name}: another promotion or rollback was faster; looking again")
    raise RegistryError(f"{model.name}: others were faster {TRIES} times; try again when fewer promote at once")


def conclude(model: RegisteredModel, event: Event) -> str:
    """Move the aliases to where the event, which is written down, wants them."""
    found = model.reconcile().aliases
    new, old, facts = event.aliases.champion, event.aliases.previous, event.facts
    beside = f", version {old} is previous (accuracy {facts['champion_accuracy']})" if old else ""
    meanwhile = "" if found.champion == new else f"; meanwhile aliases have moved on: {found}"
    said = f"{model.name} version {new} is champion (accuracy {facts['accuracy']}){beside}{meanwhile}"
    return f"{said}; run {event.by['run_id']}; serve it: {command_for('serve', model.name)}"
