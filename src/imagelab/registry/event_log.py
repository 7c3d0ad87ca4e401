"""What has happened to a registered model's aliases: events, numbered without gaps.

The log is the parameters of one run, since a run takes each parameter once: of two processes that log `event.0007`, one
succeeds and the other sees that it has not. That is the only point at which a promotion or rollback becomes true;
aliases follow (`registered_model.py`).

    event.0007          an event, as JSON
    applied.0007        the aliases were brought to it
    moving.TOKEN        a process begins to move aliases; moved.TOKEN: it has seen that they are right. Of one that
                        died in between, a move may arrive late: without its token it would look like one by hand
    version.MODEL.1     the version that a LoggedModel has become; .2 after that version was deleted
    decision            in older histories only: which of several was chosen
"""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imagelab.errors import RegistryError, TrackingError
from imagelab.tracking import request_or_none, write_param_once

if TYPE_CHECKING:
    from imagelab.tracking import Client

LONGEST_FACT = 300  # characters; a parameter holds 6000


@dataclass(frozen=True)
class Aliases:
    """The version that each alias names."""

    champion: str | None = None
    previous: str | None = None
    challenger: str | None = None

    def __str__(self) -> str:
        return ", ".join(f"{alias} {version or '-'}" for alias, version in asdict(self).items())


@dataclass(frozen=True)
class Event:
    """What was done, by whom, and the aliases after it.

    Attributes:
        kind: challenger, promotion, rollback, or "moved by hand".
        facts: what the champion's version is tagged with.
        by: run_id, user, host and git_commit, as far as they are known.
        time: UTC.
    """

    kind: str
    aliases: Aliases
    by: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    def to_json(self) -> str:
        short = {key: shortened(value) for key, value in asdict(self).items()}
        return json.dumps(short)

    @classmethod
    def from_json(cls, text: str) -> "Event":
        content = json.loads(text)
        return cls(**{**content, "aliases": Aliases(**content["aliases"])})


def shortened(value: Any) -> Any:
    """MLflow would cut a longer parameter off, and then it could not be read."""
    if isinstance(value, dict):
        return {key: shortened(part) for key, part in value.items()}
    return value[:LONGEST_FACT] if isinstance(value, str) else value


@dataclass(frozen=True)
class Log:
    """The history as it was at one moment."""

    params: Mapping[str, str]

    @property
    def numbers(self) -> list[int]:
        return sorted(int(key[6:]) for key in self.params if re.fullmatch(r"event\.\d+", key))

    def event(self, number: int) -> Event:
        try:
            return Event.from_json(self.params[f"event.{number:04d}"])
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryError(f"event {number} of this history cannot be read: {error}") from error

    @property
    def number(self) -> int:
        """Of the newest event; 0 where there is none."""
        return max(self.numbers, default=0)

    @property
    def aliases(self) -> Aliases:
        """What the newest event says of them."""
        return self.event(self.number).aliases if self.number else Aliases()

    @property
    def is_applied(self) -> bool:
        return self.number == 0 or f"applied.{self.number:04d}" in self.params

    @property
    def moving(self) -> list[str]:
        """Processes that began to move aliases and have not said that they are done.

        Such a process may have died right after it moved an alias late, when others had moved on: then the alias is
        wrong although the newest event is applied, and nobody has moved it by hand.
        """
        began = (key[7:] for key in self.params if key.startswith("moving."))
        return sorted(token for token in began if f"moved.{token}" not in self.params)

    @property
    def rolled_back(self) -> dict[str, str]:
        """Models, and their versions, that were champion until a rollback and have not been again since."""
        versions, champion = set[str](), None
        for event in map(self.event, self.numbers):
            if event.kind == "rollback" and champion not in (None, event.aliases.champion):
                versions.add(str(champion))
            champion = event.aliases.champion
            versions.discard(str(champion))
        models = {key.split(".")[1] for key in self.params if key.startswith("version.")}
        return {model: version for model in models if (version := self.version_of(model)[1]) in versions}

    def version_of(self, model_id: str) -> tuple[int, str | None]:
        """How often a LoggedModel was registered here, and as which version the last time."""
        found = [key for key in self.params if key.startswith(f"version.{model_id}.")]
        return len(found), self.params[f"version.{model_id}.{len(found)}"] if found else None


class History:
    """The log of one registered model; read and appended to by any number of processes."""

    def __init__(self, client: "Client", name: str, run_id: str) -> None:
        self.client, self.name, self.run_id = client, name, run_id

    def read(self) -> Log:
        run = request_or_none(self.client.get_run, self.run_id)
        if run is None:
            raise RegistryError(self.lost("is gone"))
        if run.info.lifecycle_stage != "active":
            raise RegistryError(self.lost(f"is deleted; restore it: mlflow runs restore --run-id {self.run_id}"))
        return Log(run.data.params)

    def lost(self, how: str) -> str:
        remove = f"mlflow.MlflowClient().delete_registered_model_tag('{self.name}', 'history_run')"
        return (
            f"{self.name}: its history, run {self.run_id}, {how} "
            f'(or begin another: python -c "import mlflow; {remove}")'
        )

    def append(self, number: int, event: Event) -> bool:
        """Whether the event has become number `number`; if not, another one has."""
        return self.note(f"event.{number:04d}", event.to_json())

    def note(self, key: str, value: str) -> bool:
        """Whether the parameter has this value now; if not, it had another one before."""
        try:
            return write_param_once(self.client, self.run_id, key, value)
        except TrackingError:
            self.read()  # says so where the history is gone
            raise
