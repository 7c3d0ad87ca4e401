"""What `compare` has found out: the value from which tables, figures and pages are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from imagelab.comparison.findings import Finding
from imagelab.comparison.pairs import Pair
from imagelab.comparison.results import Results
from imagelab.comparison.selection import Selection
from imagelab.comparison.table import rows_to_read
from imagelab.comparison.training import Configuration

if TYPE_CHECKING:
    from imagelab.data.dataset import Dataset
    from imagelab.tables import Row


@dataclass(frozen=True)
class Comparison:
    """All that the page shows.

    Attributes:
        compared: configurations of which curves and pairs are shown; the others are in the table only.
        data: the data sets that are on this machine, by name, with the images that the runs were tested on.
    """

    selection: Selection
    compared: Sequence[Configuration]
    results: Results
    pairs: Sequence[Pair]
    findings: Sequence[Finding]
    data: "Mapping[str, Dataset]" = field(default_factory=dict)

    @cached_property
    def rows(self) -> "list[Row]":
        """The table, a row a configuration, as the terminal, the page and the Markdown show it."""
        return rows_to_read(self.selection.configurations, self.results.epochs)

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(each.dataset for each in self.selection.configurations))

    @property
    def not_compared(self) -> str:
        """How many of the table have no curves and pairs; empty where all have."""
        configurations = self.selection.configurations
        if len(configurations) == len(self.compared):
            return ""
        return (
            f"Curves, pairs and figures are of the {len(self.compared)} configurations with the highest validation "
            f"accuracy, of each data set in turn; the table alone has the other "
            f"{len(configurations) - len(self.compared)}."
        )
