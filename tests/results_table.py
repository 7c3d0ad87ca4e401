"""Prints README's table of results from the files of the kept reproduction with recipe=standard; a test compares it."""

from pathlib import Path
from typing import Any

import pandas as pd

KEPT = Path(__file__).parent.parent / "docs" / "reproduction" / "standard" / "reference.csv"


def results_table(path: Path = KEPT) -> str:
    """The lines that README must have: what the figures are, and a row a data set."""
    rows = pd.read_csv(path, dtype={"seeds": str}).to_dict("records")
    seeds = rows[0]["seeds"].split()
    of_seeds = f"seed {seeds[0]}" if len(seeds) == 1 else f"mean ± standard deviation over seeds {', '.join(seeds)}"
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines = [
        f"Test accuracy: stated / its own recipe, measured / **ours** with `recipe={rows[0]['recipe']}`, {of_seeds}:",
        "",
        f"| data set | {' | '.join(models)} |",
        "|---" * (1 + len(models)) + "|",
    ]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        cells = {row["model"]: cell(row) for row in rows if row["dataset"] == dataset}
        lines.append(f"| {dataset} | {' | '.join(cells.get(model, '') for model in models)} |")
    return "\n".join(lines) + "\n"


def cell(row: dict[str, Any]) -> str:
    spread = "" if pd.isna(row["test_accuracy_std"]) else f" ± {100 * row['test_accuracy_std']:.2f}"
    ours = f"**{100 * row['test_accuracy']:.2f}{spread} %**"
    if pd.isna(row["stated_accuracy"]):
        return ours
    return f"{100 * row['stated_accuracy']:.0f} / {100 * row['measured_accuracy']:.1f} / {ours}"


if __name__ == "__main__":
    print(results_table(), end="")
