"""The reference beside ours: a section of the page, a CSV, Markdown, and a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagelab.comparison.report import Item, Section
from imagelab.comparison.table import markdown
from imagelab.console import command_line
from imagelab.figures.shares import draw_shares
from imagelab.processor import instruction_sets, usable_cores
from imagelab.reproduction.beside import MEASURED, Beside, beside_of, frame_of, rows_to_read
from imagelab.reproduction.stated_findings import findings_beside

if TYPE_CHECKING:
    from imagelab.comparison.comparison import Comparison
    from imagelab.settings import ReproduceSettings
    from imagelab.tables import Row

NO_REFERENCE = "The reference states nothing of these networks on these data sets."
TABLE = "The reference beside ours: test accuracy, parameters, time"
FINDINGS = "The reference's findings beside ours"
CAVEATS = "Where the reference's own recipe cannot give its number"
HOW = (
    "Stated: what the reference says. Its own recipe, measured: that recipe run literally, one seed on two processor "
    "cores. Ours: mean over seeds, ± the standard deviation (n - 1) where there are several. Ours chooses the epoch by "
    "validation images; test images are only read to report."
)


@dataclass(frozen=True)
class Reproduction:
    """What came out, beside what the reference states.

    Attributes:
        findings: a row a finding of the reference.
    """

    settings: "ReproduceSettings"
    rows: Sequence[Beside]
    findings: "Sequence[Row]"

    @property
    def title(self) -> str:
        return f"Reproduction of the reference with recipe={self.settings.recipe}, {self.settings.seeds_text}"

    @property
    def caveats(self) -> list[str]:
        return [f"{row.name}: {row.stated.caveat}" for row in self.rows if row.stated and row.stated.caveat]

    @property
    def has_reference(self) -> bool:
        return any(row.stated for row in self.rows)

    @property
    def how(self) -> str:
        parts = [HOW] if self.has_reference else [NO_REFERENCE]
        if self.settings.recipe == "quick" and self.has_reference:
            epochs = max(training.with_recipe().epochs or 0 for training in self.settings.trainings())
            parts.append(f"recipe=quick is a first look, at most {epochs} epochs: networks can do better than that.")
        if self.settings.weights:
            parts.append(f"The pretrained network has the weights {Path(self.settings.weights).name}, not Keras's own.")
        return " ".join(parts)


def reproduction_of(settings: "ReproduceSettings", comparison: "Comparison") -> Reproduction:
    return Reproduction(settings, beside_of(settings, comparison), findings_beside(comparison))


def reference_sections(reproduction: Reproduction) -> Iterator[Section]:
    """What the page begins with."""
    yield Section("reference", "The reference beside ours", reproduction.how, rows=rows_to_read(reproduction.rows),
                  caption=TABLE)  # fmt: skip
    if reproduction.findings:
        yield Section("reference-findings", FINDINGS, rows=reproduction.findings, caption=FINDINGS)
    if reproduction.caveats:
        items = [Item(text) for text in reproduction.caveats]
        yield Section("reference-caveats", CAVEATS, items=items)


def write_reference_files(reproduction: Reproduction, folder: Path) -> Iterator[Path]:
    """`reference.csv`, `reference.png` and `reproduction.md`, one after the other."""
    frame_of(reproduction.rows, reproduction.settings.recipe).to_csv(folder / "reference.csv", index=False)
    yield folder / "reference.csv"
    shares = {row.name: shares_of(row) for row in reproduction.rows}
    draw_shares(shares, reproduction.title, "test accuracy").savefig(folder / "reference.png", dpi=110)
    yield folder / "reference.png"
    (folder / "reproduction.md").write_text(text_of(reproduction), encoding="utf-8")
    yield folder / "reproduction.md"


def shares_of(row: Beside) -> dict[str, float]:
    stated = {"stated": row.stated.accuracy, MEASURED: row.stated.measured} if row.stated else {}
    return {**stated, "ours": row.ours.mean_of("test_accuracy")}


def text_of(reproduction: Reproduction) -> str:
    """The whole as Markdown."""
    settings, sets = reproduction.settings, " ".join(instruction_sets("avx2", "avx512_bf16", "amx_bf16"))
    given = {"recipe": settings.recipe, "seeds": settings.seeds if len(settings.seed_list) > 1 else None}
    weights = settings.weights and Path(settings.weights).name
    named = {"dataset": settings.dataset, "model": settings.model, "weights": weights}
    parts = [
        f"# {reproduction.title}",
        f"`{command_line('reproduce', **named, **given)}`, on {usable_cores()} cores ({sets or 'no AVX2'}).",
        reproduction.how,
        markdown(rows_to_read(reproduction.rows)),
    ]
    if reproduction.has_reference:
        parts.append("![Test accuracy: stated, measured, ours](reference.png)")
    if reproduction.findings:
        parts += [f"## {FINDINGS}", markdown(reproduction.findings)]
    if reproduction.caveats:
        parts += [f"## {CAVEATS}", "\n".join(f"- {text}" for text in reproduction.caveats)]
    return "\n\n".join(parts) + "\n"
