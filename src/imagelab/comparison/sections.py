"""What stands on the page, in which order, from what was compared."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagelab.comparison.comparison import Comparison
from imagelab.comparison.differences import confusion_difference, only_one_right
from imagelab.comparison.findings import Finding
from imagelab.comparison.mistakes import mistakes_section
from imagelab.comparison.pairs import Pair, Test, find_pair, p_text
from imagelab.comparison.plots import (
    accuracy_plots,
    class_plots,
    cost_plots,
    curves_plot,
    largest_differences,
)
from imagelab.comparison.report import Item, Plot, Section
from imagelab.console import how_many
from imagelab.figures.comparison import explore_confusion_difference

if TYPE_CHECKING:
    from imagelab.tables import Row

MOST_LISTED = 200  # rows of a table on the page; the rest is in the CSV
HOW_TO_READ = (
    "Configurations are trainings that differ in nothing but their seed. They are chosen and ordered by their mean "
    "validation accuracy; test images choose nothing. ± is the standard deviation over seeds (n - 1).",
    "McNemar's exact test takes one network of each configuration (of the lowest seed that both have) and counts the "
    "images that only one of them got right. It says whether these two networks differ, not whether others of the same "
    "settings would. It takes the images to be independent.",
    "The paired t-test over seeds says whether the settings differ. It takes the differences to be normally "
    "distributed, and with two or three seeds it finds large differences only.",
    "Both are two-sided, and corrected for the number of pairs by Holm's method. Below 0.05 a difference is said to be "
    "shown.",
)


def sections_of(comparison: Comparison) -> Iterator[Section]:
    """In the order of the page; those with nothing to show are left away."""
    rows = comparison.rows
    text = comparison.not_compared
    if len(rows) > MOST_LISTED:
        text += f" performance_comparison.csv has {how_many(len(rows) - MOST_LISTED, 'more row')}."
    caption = "Performance: mean ± standard deviation over seeds"
    yield Section("performance", "Performance", text.strip(), rows=rows[:MOST_LISTED], caption=caption)
    if comparison.findings:
        yield Section("findings", "Findings", items=[item_of(each) for each in comparison.findings])
    if comparison.pairs:
        items = [Item(str(pair)) for pair in comparison.pairs[:10]]
        rows = [row_of_pair(pair) for pair in comparison.pairs]
        yield Section("pairs", "Is it luck?", items=items, rows=rows, caption="Every pair, with both tests")
    yield Section("accuracy", "Accuracy and its spread over seeds", plots=list(accuracy_plots(comparison)))
    if comparison.results.curves:
        yield Section("curves", "Curves", plots=[curves_plot(comparison)])
    yield Section("cost", "Accuracy, parameters and time", plots=list(cost_plots(comparison)))
    if plots := list(class_plots(comparison)):
        yield Section("accuracy-by-class", "Accuracy by class", plots=plots)
    for dataset in comparison.datasets:
        if section := mistakes_section(comparison, dataset):
            yield section
        yield from difference_sections(comparison, dataset)
    yield from remarks(comparison)
    yield Section("reading", "How to read this", items=[Item(text) for text in HOW_TO_READ])


def item_of(finding: Finding) -> Item:
    text = f"{finding.dataset}: {finding.text}"
    return Item(text, finding.figure, finding.figure.replace("-", " "))


def row_of_pair(pair: Pair) -> "Row":
    row = {
        "higher test accuracy": pair.first.label,
        "other": pair.second.label,
        "points, all seeds": f"{pair.points:.2f}",
    }
    alone = pair.outcomes and f"{pair.outcomes.only_second} : {pair.outcomes.only_first}"
    row["points, two networks"] = f"{100 * pair.outcomes.improvement:.2f}" if pair.outcomes else ""
    row |= {"only one right": alone or "", "McNemar p": p_of(pair.mcnemar)}
    row["seeds in common"] = str(len(pair.seeds.differences)) if pair.seeds else ""
    row["t-test p"] = p_of(pair.over_seeds)
    row["more than luck"] = pair.verdict
    return row


def p_of(test: Test | None) -> str:
    """Corrected for the number of pairs."""
    return p_text(test.corrected).removeprefix("= ") if test else "not tested"


def difference_sections(comparison: Comparison, dataset: str) -> Iterator[Section]:
    """Of the two configurations with the highest validation accuracy."""
    ours = [each for each in comparison.compared if each.dataset == dataset][:2]
    pair = find_pair(comparison.pairs, *ours) if len(ours) == 2 else None
    if pair is None or not pair.outcomes:
        return
    first, second = (pair.network_name(place) for place in (0, 1))
    difference, names = confusion_difference(pair, comparison.results)
    caption = (
        f"Images that {first} gives a class more often (blue) or less often (orange) than "
        f"{second}. On the diagonal, blue is better; elsewhere, orange."
    )
    plot = Plot(
        f"confusion-{dataset}",
        f"The largest differences of confusion on {dataset}",
        caption,
        explore_confusion_difference(difference, names),
        largest_differences(difference, names),
    )
    yield Section(f"confusion-difference-{dataset}", f"Difference of confusion on {dataset}", plots=[plot])
    found = comparison.data.get(dataset)
    galleries = only_one_right(pair, comparison.results, found)
    counts = f"{pair.outcomes.only_second} and {pair.outcomes.only_first} of {pair.outcomes.images:,} test images"
    absent = (
        "" if found else f" The pictures are not shown: {dataset} is not on this machine, or another version of it."
    )
    text = (
        f"{first} and {second} are alone right on {counts}. First those where the other one is surest of its mistake."
        f"{absent}"
    )
    yield Section(
        f"only-one-right-{dataset}", f"Images on {dataset} that only one gets right", text, galleries=galleries
    )


def remarks(comparison: Comparison) -> Iterator[Section]:
    """What is not compared, by name."""
    selection = comparison.selection
    items = [Item(str(each)) for each in selection.left_out[:MOST_LISTED]]
    if len(selection.left_out) > MOST_LISTED:
        items.append(Item(f"and {len(selection.left_out) - MOST_LISTED} more, in left_out.csv"))
    if selection.not_shown:
        others = how_many(selection.not_shown, "configuration")
        lower = "with a lower mean validation accuracy than those of their data set and model that are shown"
        items.append(Item(f"{others} {lower}; all=true shows all."))
    items += [Item(text) for text in comparison.results.missing]
    if items:
        yield Section("left-out", "Left out", items=items)
