"""The command: select runs, test their differences, and leave a table, findings and one page that shows it all."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imagelab.comparison.selection import Selection, select
from imagelab.comparison.table import frame_of, labelled, markdown
from imagelab.comparison.training import Configuration
from imagelab.console import how_many, printable, say, show
from imagelab.data import DATASETS, find_dataset
from imagelab.errors import SettingsError
from imagelab.keras_startup import start_keras
from imagelab.settings import CompareSettings
from imagelab.tables import rendered
from imagelab.tracking import Run, log_description, operation_run, use_tracking_store

if TYPE_CHECKING:
    from imagelab.comparison.comparison import Comparison
    from imagelab.comparison.report import Section
    from imagelab.data.dataset import Dataset
    from imagelab.tables import Row
    from imagelab.tracking import Client

MOST_COMPARED = 20  # configurations whose curves and pairs are shown
MOST_SAID = 10  # rows of the table, and runs that are left out, on the terminal
MOST_ROWS = 40
NOT_SAID = ("epochs", "best epoch")  # columns that the terminal has no room for


def compare(settings: CompareSettings) -> str:
    """Compare the runs that are chosen; return the line that says what came out.

    Raises:
        SettingsError: there is nothing to compare, or what is named is not there; no run is opened then.
        TrackingError: the store does not answer.
    """
    client = use_tracking_store()
    selection = labelled_selection(client, settings)
    say_what_is_left_out(selection)
    make_output_folder(settings.output)
    params = {**settings.model_dump(mode="json"), "runs_compared": selection.runs}
    with operation_run(client, "comparison", subject_of(selection), params) as run:
        comparison = compare_selection(client, selection)
        show_result(comparison)
        page = page_of(comparison, *titles(comparison, run.address))
        for path in write_files(comparison, page, settings.output):
            run.log_file(path.name, path)
        log_figures(run, comparison)
        return (
            f"compared {how_many(len(selection.configurations), 'configuration')} ({how_many(selection.runs, 'run')}); "
            f"open {settings.output / 'report.html'}; run {run.run_id}: {run.address}"
        )


def make_output_folder(path: Path) -> None:
    """Before the work that it is for; a SettingsError says why it cannot be."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise SettingsError(f"output={path}: cannot be made ({error.strerror})") from error


def labelled_selection(client: "Client", settings: CompareSettings) -> Selection:
    """What is compared, each configuration with a label that tells it from the others."""
    found = select(client, settings)
    return replace(found, configurations=labelled(found.configurations))


def subject_of(selection: Selection) -> str:
    models = dict.fromkeys(each.model for each in selection.configurations)
    datasets = dict.fromkeys(each.dataset for each in selection.configurations)
    return f"{', '.join(models)} on {', '.join(datasets)}"


def say_what_is_left_out(selection: Selection) -> None:
    for left_out in selection.left_out[:MOST_SAID]:
        say(f"left out: {left_out}")
    if len(selection.left_out) > MOST_SAID:
        more = how_many(len(selection.left_out) - MOST_SAID, "more run")
        say(f"left out: {more}; left_out.csv has all with the reason")
    if selection.not_shown:
        others = how_many(selection.not_shown, "configuration")
        say(f"not shown: {others} with a lower validation accuracy; all=true shows all")


def compare_selection(client: "Client", selection: Selection) -> "Comparison":
    """Download what the page needs of the configurations that it shows, and test them."""
    from imagelab.comparison.comparison import Comparison
    from imagelab.comparison.findings import find
    from imagelab.comparison.pairs import compare_pairs
    from imagelab.comparison.results import fetch_results

    compared = first_of_each(selection.configurations)
    results = fetch_results(client, compared)
    pairs = compare_pairs(compared, results)
    data = data_here(compared) if results.predictions else {}
    return Comparison(selection, compared, results, pairs, find(compared, pairs, results, data), data)


def first_of_each(configurations: Sequence[Configuration]) -> list[Configuration]:
    """The MOST_COMPARED best: of several data sets in turn the best, the second best and so on."""
    ranks: dict[str, int] = {}
    ranked = []
    for each in configurations:
        ranks[each.dataset] = ranks.get(each.dataset, 0) + 1
        ranked.append((ranks[each.dataset], each))
    kept = {each.label for _, each in sorted(ranked, key=lambda pair: pair[0])[:MOST_COMPARED]}
    return [each for each in configurations if each.label in kept]


def data_here(configurations: Sequence[Configuration]) -> "dict[str, Dataset]":
    """The data sets that this machine has, unchanged since the runs; nothing is fetched."""
    digests = {each.dataset: each.trainings[0].digest for each in configurations}
    if set(digests) != {"digits"}:
        start_keras()  # loaders import Keras
    found = {name: find_dataset(name) for name in digests if name in DATASETS}
    return {name: data for name, data in found.items() if data is not None and data.digest == digests[name]}


def show_result(comparison: "Comparison") -> None:
    """The table and the findings, on the terminal."""
    rows = comparison.rows
    show(rendered(map(for_terminal, rows[:MOST_ROWS]), folded=("model", "settings that differ")))
    if len(rows) > MOST_ROWS:
        show(f"performance_comparison.csv has {how_many(len(rows) - MOST_ROWS, 'more row')}")
    if comparison.not_compared:
        say(comparison.not_compared)
    missing = comparison.results.missing
    for text in missing[:MOST_SAID]:
        say(text)
    if len(missing) > MOST_SAID:
        say(f"{len(missing) - MOST_SAID} more results are missing; report.html names them")
    for finding in comparison.findings:
        show(f"- {printable(f'{finding.dataset}: {finding.text}')}")


def for_terminal(row: "Row") -> "Row":
    return {name: value for name, value in row.items() if name not in NOT_SAID}


def page_of(comparison: "Comparison", title: str, subtitle: str, first: "Sequence[Section]" = ()) -> str:
    """The page of the comparison, with these sections before its own."""
    from imagelab.comparison.report import render
    from imagelab.comparison.sections import sections_of

    return render(title, subtitle, [*first, *sections_of(comparison)])


def write_files(comparison: "Comparison", page: str, folder: Path) -> Iterator[Path]:
    """The files of the comparison, one after the other."""
    import pandas as pd

    from imagelab.comparison.pairs import frame_of_pairs

    selection, epochs = comparison.selection, comparison.results.epochs
    left_out = pd.DataFrame(selection.left_out, columns=["run_id", "name", "reason"])
    for name, table in {
        "performance_comparison": frame_of(selection.configurations, epochs),
        "pairs": frame_of_pairs(comparison.pairs),
        "left_out": left_out,
    }.items():
        table.to_csv(folder / f"{name}.csv", index=False)
        yield folder / f"{name}.csv"
    findings = [f"- {finding}" for finding in comparison.findings]
    pages = {
        "performance_comparison.md": "\n".join([markdown(comparison.rows), "", *findings, ""]),
        "report.html": page,
    }
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
        yield folder / name


def titles(comparison: "Comparison", address: str) -> tuple[str, str]:
    selection = comparison.selection
    compared = f"{how_many(len(selection.configurations), 'configuration')}, {how_many(selection.runs, 'run')}"
    subtitle = f"{compared}. This comparison: {address}"
    return f"Comparison of {subject_of(selection)}", subtitle


def log_figures(run: Run, comparison: "Comparison") -> None:
    selection = comparison.selection
    shown = sum(pair.verdict.startswith("yes") for pair in comparison.pairs)
    figures = {"configurations": len(selection.configurations), "runs": selection.runs, "pairs": len(comparison.pairs)}
    run.log_metrics({**figures, "pairs_more_than_luck": shown, "left_out": len(selection.left_out)})
    findings = "".join(f"- {finding}\n" for finding in comparison.findings)
    run.log_text("findings.md", findings)
    log_description(run, f"{findings}- open `report.html`")
