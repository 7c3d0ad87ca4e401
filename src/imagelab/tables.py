"""Tables as people read them: rows of texts, and how a terminal shows them."""

from collections.abc import Collection, Iterable

from rich.console import Console
from rich.table import Table

from imagelab.console import printable

Row = dict[str, str]  # column: what stands there
WIDTH = 130  # characters of a wide table that does not go to a terminal


def rendered(rows: Iterable[Row], title: str = "", folded: Collection[str] | None = None) -> str:
    """Rows as a table for a terminal, in colour where it is one.

    Args:
        folded: columns whose values may take several lines; None: all. Where no terminal is, WIDTH is there for them.
    """
    rows, console = list(rows), Console(markup=False, emoji=False)  # a class or run may have any name
    if folded is not None and not console.is_terminal:
        console.width = max(console.width, WIDTH)
    table = Table(title=title or None, title_justify="left", title_style="")
    for name in rows[0] if rows else ():
        table.add_column(name, overflow="fold", no_wrap=folded is not None and name not in folded)
    for row in rows:
        table.add_row(*map(printable, row.values()))
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()
