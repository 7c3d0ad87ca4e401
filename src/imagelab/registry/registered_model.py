"""A registered model, and how its aliases follow its history.

Every process that moves aliases looks at the history right before and after each move, and goes on with the newest
event if there is a newer one. So whoever moves an alias last moves it to where the newest event wants it, even if it
was stopped for a day in between; and `champion` names a version at every moment, for it is moved, never taken away.
"""

import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from imagelab.console import say
from imagelab.errors import RegistryError, TrackingError
from imagelab.registry.event_log import Aliases, Event, History, Log
from imagelab.tracking import code_of, request, set_run_tag

if TYPE_CHECKING:
    from imagelab.tracking import Client

ORDER = ("previous", "champion", "challenger")
BY_HAND = "moved by hand"
VERDICTS = {"promotion": "promoted", "rollback": "rolled back"}
DELETED = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")
TRIES = 100


class RegisteredModel:
    """A registered model with a history."""

    def __init__(self, client: "Client", name: str, history: History) -> None:
        self.client, self.name, self.history = client, name, history

    def aliases(self) -> Aliases:
        """Where the aliases are in fact."""
        found = request(self.client.get_registered_model, self.name).aliases
        return Aliases(**{alias: str(found[alias]) for alias in ORDER if alias in found})

    def reconcile(self) -> Log:
        """Complete what another process has not completed, and write down what was moved by hand.

        Returns:
            The history, with which the aliases agree now.
        """
        for _ in range(TRIES):
            log = self.history.read()
            if not log.is_applied:
                self.apply()
                continue
            found = self.aliases()
            if found == log.aliases:
                self.close(log.moving)
                return log
            if log.moving:  # it may have moved an alias late, and died before it saw that
                self.apply()
            elif self.append_by_hand(log, found):
                say(f"{self.name}: aliases were moved by hand; they are now: {found}")
        raise RegistryError(f"{self.name}: its aliases keep changing; somebody else is moving them; try again")

    def append_by_hand(self, log: Log, found: Aliases) -> bool:
        """Write down aliases that no event has moved; nothing is left to apply."""
        number = log.number + 1
        if not self.history.append(number, Event(BY_HAND, found)):
            return False
        self.history.note(f"applied.{number:04d}", BY_HAND)
        return True

    def apply(self) -> None:
        """Bring the aliases to what the newest event says; may be done again, and by several processes at once."""
        token = uuid.uuid4().hex
        self.history.note(f"moving.{token}", "yes")
        log = self.history.read()
        moving = log.moving
        while not self.move_all(log):
            log = self.history.read()
        self.mark(log.event(log.number))
        self.history.note(f"applied.{log.number:04d}", token)
        self.close([*moving, token])

    def close(self, moving: list[str]) -> None:
        for token in moving:
            self.history.note(f"moved.{token}", "yes")

    def move_all(self, log: Log) -> bool:
        """Move what is not where the newest event wants it; whether that event is still the newest one."""
        found = asdict(self.aliases())
        wanted = asdict(log.aliases)
        for alias in ORDER:
            if found[alias] != wanted[alias]:
                if self.history.read().number != log.number:
                    return False
                self.move(alias, wanted[alias])
        return self.history.read().number == log.number

    def move(self, alias: str, version: str | None) -> None:
        """Let an alias name a version, or none. A version that was deleted keeps it where it is."""
        if version is not None:
            self.attempt(self.client.set_registered_model_alias, self.name, alias, version)
        elif alias != "champion":
            self.attempt(self.client.delete_registered_model_alias, self.name, alias)

    def mark(self, event: Event) -> None:
        """Tag the champion's version, and the run that made it champion, with what the event says."""
        for key, value in event.facts.items():
            self.attempt(self.client.set_model_version_tag, self.name, event.aliases.champion, key, value)
        if event.kind in VERDICTS and "run_id" in event.by:
            self.attempt(set_run_tag, self.client, event.by["run_id"], "verdict", VERDICTS[event.kind])

    def attempt(self, method: Callable[..., object], *arguments: object) -> None:
        """Ask for something that is no longer possible where a version or run was deleted meanwhile."""
        try:
            request(method, *arguments)
        except TrackingError as error:
            if code_of(error) not in DELETED:
                raise
