"""The version behind an alias: loaded, and replaced without a pause when the alias moves to another version."""

import gc
import threading
import time
from typing import TYPE_CHECKING

from mlflow.entities.model_registry import ModelVersion

from imagelab.console import say
from imagelab.errors import ImagelabError, RegistryError
from imagelab.registry.loaded_model import load_version
from imagelab.registry.lookup import Lookup
from imagelab.registry.overview import command_for
from imagelab.serving.dynamic_batching import Batcher
from imagelab.serving.prometheus import ServingMetrics
from imagelab.serving.served_version import ServedVersion, VersionName
from imagelab.tracking import reason_of

if TYPE_CHECKING:
    from imagelab.tracking import Client

LONGEST_CHECK = 60.0  # seconds that the last check of the alias may take
RETRY = 30.0  # seconds until a version that could not be loaded is tried again


class AliasWatcher:
    """The version behind an alias, and a thread that replaces it when the alias moves.

    Attributes:
        current: the version that answers now.
        problem: why the newest check of the alias failed, or the newest version; None while all is well.
        failed: the version that could not be loaded; it is tried again from `next_attempt` on.
    """

    def __init__(self, client: "Client", model: str, alias: str, metrics: ServingMetrics) -> None:
        """Load the version behind the alias.

        Raises:
            SettingsError: there is no such model or alias.
            RegistryError: the version cannot be loaded or does not answer.
        """
        self.lookup, self.alias, self.metrics = Lookup(client, model, patience=0), alias, metrics
        self.problem: str | None = None
        self.failed: VersionName | None = None
        self.next_attempt = 0.0
        self.ended = threading.Event()
        self.thread: threading.Thread | None = None
        self.current = self.load(Lookup(client, model).version_behind(alias))
        self.is_frozen = False
        self.freeze_gc()

    def load(self, version: ModelVersion) -> ServedVersion:
        try:
            model = load_version(version)
        except RegistryError as error:
            raise RegistryError(f"{error}{self.way_out(version.name)}") from error
        self.metrics.loads.inc()
        self.metrics.version.labels(version.name).set(float(version.version))
        batcher = Batcher(model.served.probabilities, self.metrics.batch.observe)
        return ServedVersion(VersionName.of(version, self.alias), model, batcher)

    def way_out(self, name: str) -> str:
        """What to do about a champion that cannot be loaded; nothing of versions behind other aliases."""
        if self.alias != "champion":
            return ""
        if "previous" in self.lookup.aliases():
            return f"; go back to the version before: {command_for('rollback', name)}"
        return f"; there is none before it: train, then {command_for('promote', name)}"

    def watch(self, poll_seconds: float) -> None:
        """Check the alias every few seconds, in a thread, until `end`."""

        def check_again_and_again() -> None:
            while not self.ended.wait(poll_seconds):
                self.check()

        self.thread = threading.Thread(target=check_again_and_again, name="imagelab-alias-watcher", daemon=True)
        self.thread.start()

    def check(self) -> None:
        """Load what the alias names now, if that is another version; after an error the old one goes on answering."""
        problem = None
        try:
            version = self.lookup.version_behind(self.alias)
            name = VersionName.of(version, self.alias)
            if name != self.current.name:
                if name == self.failed and time.monotonic() < self.next_attempt:
                    return
                self.failed, self.next_attempt = name, time.monotonic() + RETRY
                self.replace(version)
            elif not self.is_frozen:  # requests that began with the old version are done by now
                self.freeze_gc()
            self.failed = None
        except Exception as error:
            problem = str(error) if isinstance(error, ImagelabError) else reason_of(error)
        if problem and problem != self.problem:
            say(f"{problem}; version {self.current.name.version} goes on answering")
        self.problem = problem

    def replace(self, version: ModelVersion) -> None:
        old, self.current = self.current, self.load(version)
        old.batcher.close()
        self.is_frozen = False
        say(f"version {version.version} of {version.name} answers now, after version {old.name.version}")

    def freeze_gc(self) -> None:
        """Remove what is left of an old version, and hide a million objects that stay from the garbage collector.

        It would look at all of them every few seconds, and let every request wait for a third of a second.
        """
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self.is_frozen = True

    def end(self) -> None:
        """Check no more. A load under way is waited for: Python would never end, because of a lock of h5py's."""
        self.ended.set()
        if self.thread:
            self.thread.join(LONGEST_CHECK)
        self.current.batcher.close()
