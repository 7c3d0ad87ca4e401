"""Each figure of the reference beside ours, as rows of tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from imagelab.comparison.table import percent, shown, with_spread
from imagelab.comparison.training import PROCESSOR_SECONDS, WHOLE_SECONDS, Configuration
from imagelab.reference import Stated, stated_of

if TYPE_CHECKING:
    from imagelab.comparison.comparison import Comparison
    from imagelab.settings import ReproduceSettings
    from imagelab.tables import Row

MEASURED = "its own recipe, measured"  # column: what the reference's recipe gave when it was run literally


@dataclass(frozen=True)
class Beside:
    """A network on a data set: what the reference states, if anything, and our trainings of it."""

    dataset: str
    model: str
    stated: Stated | None
    ours: Configuration

    @property
    def name(self) -> str:
        return f"{self.model} on {self.dataset}"


def beside_of(settings: "ReproduceSettings", comparison: "Comparison") -> list[Beside]:
    """Every network that was trained, in the order of the reference."""
    found = []
    for dataset, model in settings.pairs:
        peers = [each for each in comparison.selection.configurations if (each.dataset, each.model) == (dataset, model)]
        trainings = [training for each in peers for training in each.trainings]
        if trainings:
            ours = Configuration(tuple(sorted(trainings, key=lambda training: training.seed)))
            found.append(Beside(dataset, model, stated_of(dataset, model), ours))
    return found


def frame_of(rows: Sequence[Beside], recipe: str) -> pd.DataFrame:
    """`reference.csv`: accuracies as shares between 0 and 1, times in the units that the columns name."""
    return pd.DataFrame([values_of(row, recipe) for row in rows])


def values_of(row: Beside, recipe: str) -> dict[str, Any]:
    stated, ours, accuracy = row.stated, row.ours, row.ours.mean_of("test_accuracy")
    return {
        "dataset": row.dataset,
        "model": row.model,
        "recipe": recipe,
        "seeds": " ".join(map(str, ours.seeds)),
        "stated_accuracy": stated and stated.accuracy,
        "measured_accuracy": stated and stated.measured,
        "measured_how": stated and stated.how,
        "test_accuracy": accuracy,
        "test_accuracy_std": ours.spread_of("test_accuracy"),
        "points_above_stated": stated and round(100 * (accuracy - stated.accuracy), 2),
        "points_above_measured": stated and round(100 * (accuracy - stated.measured), 2),
        "stated_parameters": stated and stated.parameters,
        "true_parameters": stated and stated.true_parameters,
        "parameters": ours.mean_of("parameter_count"),
        "stated_gpu_minutes": stated and stated.gpu_minutes,
        "training_seconds": ours.mean_of("training_seconds"),
        WHOLE_SECONDS: ours.mean_of(WHOLE_SECONDS),
        PROCESSOR_SECONDS: ours.mean_of(PROCESSOR_SECONDS),
    }


def rows_to_read(rows: Sequence[Beside]) -> "list[Row]":
    """The same as people read it."""
    return [row_to_read(row) for row in rows]


def row_to_read(row: Beside) -> "Row":
    stated, ours = row.stated, row.ours
    points = f"{100 * (ours.mean_of('test_accuracy') - stated.accuracy):+.1f} points" if stated else ""
    return {
        "data set": row.dataset,
        "network": row.model,
        "stated": f"about {100 * stated.accuracy:.0f} %" if stated else "",
        MEASURED: f"{100 * stated.measured:.1f} % ({stated.how})" if stated else "",
        "ours": with_spread(ours, "test_accuracy", percent),
        "ours against stated": points,
        "parameters stated": f"about {stated.parameters:,}" if stated else "",
        "true parameters": f"{stated.true_parameters:,}" if stated else "",
        "our parameters": shown(ours.mean_of("parameter_count"), "{:,.0f}".format),
        "GPU time stated": f"{stated.gpu_minutes} min" if stated else "",
        "our training": with_spread(ours, WHOLE_SECONDS, "{:,.0f} s".format),
    }
