"""The model behind an alias: loaded, asked, and replaced without a pause when the alias moves to another version."""

import gc
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imagelab.console import say
from imagelab.errors import ImagelabError, RegistryError
from imagelab.registry.artifacts import fetched
from imagelab.registry.lookup import version_behind, version_of
from imagelab.registry.versions import DIGEST
from imagelab.serving.batching import Batcher
from imagelab.serving.metrics import Metrics
from imagelab.tracking import reason_of

if TYPE_CHECKING:
    from imagelab.serving.attention import Attention
    from imagelab.tracking import Client

LONGEST_END = 60.0  # seconds that the last look may take
RETRY = 30.0  # seconds until a version that could not be loaded is tried again


@dataclass(frozen=True)
class Version:
    """Which version of a registered model answers."""

    model: str
    version: str
    alias: str
    run_id: str | None
    model_id: str


@dataclass(frozen=True)
class Loaded:
    """A version in memory. A request keeps to the one it began with.

    Attributes:
        pyfunc: what `mlflow.pyfunc.load_model` has made of it.
        served: the model in it, see served_model.py.
        batcher: its probabilities, of several requests at once.
    """

    version: Version
    pyfunc: Any
    served: Any
    batcher: Batcher

    def answer(self, given: Any, params: dict[str, Any] | None, most: int | None) -> pd.DataFrame:
        """What `predict` of the model gives, but computed together with other requests."""
        top_k = self.served.checked_top_k((params or {}).get("top_k"))
        return self.served.answer(self.batcher(self.served.pixels(given, most)), top_k)

    @cached_property
    def attention(self) -> "Attention":
        from imagelab.serving.attention import Attention

        return Attention(self.served.network)

    def explain(self, image: np.ndarray) -> dict[str, Any]:
        """The answer to an image, uint8 (height, width, channels), and pictures of it without and with Grad-CAM."""
        from imagelab.serving.attention import data_url, overlay

        [row] = self.served.answer(self.batcher(image[None]), self.served.checked_top_k(None)).to_dict("records")
        heat = self.attention.heat(image)
        shown = data_url(overlay(image, np.zeros((1, 1))))
        return {**row, "picture": shown, "looked_at": None if heat is None else data_url(overlay(image, heat))}

    def is_alive(self) -> bool:
        """Whether it answers a blank image with probabilities of all classes, as it would any request."""
        blank = np.zeros((1, *self.served.image_shape), np.uint8)
        [top] = self.answer(blank, {"top_k": len(self.served.class_names)}, 1)["top"]
        return bool(np.isclose(sum(each["probability"] for each in top), 1, atol=1e-3))


def answering_version(client: "Client", model: str, alias: str) -> Version:
    """The version that the alias names now.

    Raises:
        SettingsError: there is no such model or alias; says what there is.
        RegistryError: the registry does not answer.
    """
    version = version_behind(client, model, alias)
    found = version_of(client, model, version)
    return Version(model, version, alias, found.run_id, str(found.source).removeprefix("models:/"))


class FollowingModel:
    """The version behind an alias, and a thread that replaces it when the alias moves.

    Attributes:
        loaded: the version that answers now.
        trouble: why the newest look at the registry, or the newest version, failed; None while all is well.
        failed: the version that could not be loaded; it is tried again from `next_attempt` on.
    """

    def __init__(self, client: "Client", model: str, alias: str, metrics: Metrics) -> None:
        """Load the version behind the alias.

        Raises:
            SettingsError: there is none.
            RegistryError: it cannot be loaded or does not answer.
        """
        self.client, self.model, self.alias, self.metrics = client, model, alias, metrics
        self.trouble: str | None = None
        self.failed: Version | None = None
        self.next_attempt = 0.0
        self.ended = threading.Event()
        self.watching: threading.Thread | None = None
        self.loaded = self.load(answering_version(client, model, alias))
        self.settled = False
        self.settle()

    def load(self, version: Version) -> Loaded:
        import mlflow.pyfunc

        name = f"version {version.version} of {version.model}"
        try:
            digest = version_of(self.client, version.model, version.version).tags.get(DIGEST)
            with fetched(f"models:/{version.model}/{version.version}", digest) as path:
                pyfunc = mlflow.pyfunc.load_model(str(path))
            served = pyfunc.unwrap_python_model()
            loaded = Loaded(version, pyfunc, served, Batcher(served.probabilities, self.metrics.batch.observe))
        except Exception as error:
            raise RegistryError(f"{name} cannot be loaded ({reason_of(error)})") from error
        try:
            alive = loaded.is_alive()
        except Exception as error:
            loaded.batcher.close()
            raise RegistryError(f"{name} does not answer ({reason_of(error)})") from error
        if not alive:
            loaded.batcher.close()
            raise RegistryError(f"{name} does not answer with probabilities")
        self.metrics.loads.inc()
        self.metrics.version.labels(version.model).set(float(version.version))
        return loaded

    def follow(self, poll_seconds: float) -> None:
        """Look at the alias every few seconds, in a thread, until `end`."""

        def watch() -> None:
            while not self.ended.wait(poll_seconds):
                self.look()

        self.watching = threading.Thread(target=watch, name="imagelab-follow", daemon=True)
        self.watching.start()

    def look(self) -> None:
        """Load what the alias names now, if that is another version; what fails leaves the old one answering."""
        try:
            version = answering_version(self.client, self.model, self.alias)
            if version != self.loaded.version:
                if version == self.failed and time.monotonic() < self.next_attempt:
                    return
                self.failed, self.next_attempt = version, time.monotonic() + RETRY
                self.replace(version)
            elif not self.settled:  # and requests that began with the old version have had their answers
                self.settle()
            self.failed = trouble = None
        except Exception as error:
            trouble = str(error) if isinstance(error, ImagelabError) else reason_of(error)
        if trouble and trouble != self.trouble:
            say(f"{trouble}; version {self.loaded.version.version} goes on answering")
        self.trouble = trouble

    def replace(self, version: Version) -> None:
        old, self.loaded = self.loaded, self.load(version)
        old.batcher.close()
        self.settled = False
        say(f"version {version.version} of {self.model} answers now, after version {old.version.version}")

    def settle(self) -> None:
        """Remove what is left of an old version, and hide a million objects that stay from the garbage collector.

        It would look at all of them every few seconds, and let every request wait for a third of a second.
        """
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self.settled = True

    def end(self) -> None:
        """Look no more. A load under way is waited for: Python would never end, for want of a lock of h5py's."""
        self.ended.set()
        if self.watching:
            self.watching.join(LONGEST_END)
        self.loaded.batcher.close()
