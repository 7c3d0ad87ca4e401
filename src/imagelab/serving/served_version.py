"""A version of a registered model that answers requests."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from imagelab.explanation.pictures import data_url, enlarged, overlay
from imagelab.registry.loaded_model import LoadedModel, are_probabilities
from imagelab.serving.dynamic_batching import Batcher

if TYPE_CHECKING:
    from imagelab.explanation.explainer import Explainer


@dataclass(frozen=True)
class VersionName:
    """Which version it is, as `/version` tells it."""

    model: str
    version: str
    alias: str
    run_id: str | None
    model_id: str

    @classmethod
    def of(cls, found: ModelVersion, alias: str) -> "VersionName":
        model_id = str(found.source).removeprefix("models:/")
        return cls(found.name, str(found.version), alias, found.run_id, model_id)


@dataclass(frozen=True)
class ServedVersion:
    """A version in memory. A request is answered by the version that it began with.

    Attributes:
        batcher: computes probabilities, of several requests at once.
    """

    name: VersionName
    model: LoadedModel
    batcher: Batcher

    def answer(self, given: Any, params: dict[str, Any] | None, most: int | None) -> pd.DataFrame:
        """What `predict` of the model returns, but computed together with other requests.

        Args:
            most: images that a request may have.
        """
        served = self.model.served
        top_k = served.checked_top_k((params or {}).get("top_k"))
        return served.answer(self.batcher(served.pixels(given, most)), top_k)

    @cached_property
    def explainer(self) -> "Explainer":
        from imagelab.explanation.explainer import Explainer  # late: imports Keras, which is started by now

        return Explainer(self.model.network)

    def explain(self, image: np.ndarray) -> dict[str, Any]:
        """The answer to an image, uint8 (height, width, channels), and pictures: of it, and of where was looked.

        `method` is how that was found out: Grad-CAM, or gradient times input where no feature map has several places.
        """
        served = self.model.served
        [row] = served.answer(self.batcher(image[None]), served.checked_top_k(None)).to_dict("records")
        found = self.explainer.explain(image[None])
        pictures = {"picture": data_url(enlarged(image)), "looked_at": data_url(overlay(image, found.maps[0]))}
        return {**row, **pictures, "method": found.method}

    def is_alive(self) -> bool:
        """Whether it still answers a black image with probabilities."""
        return are_probabilities(self.batcher(self.model.blank))
