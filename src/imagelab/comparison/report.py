"""`report.html`: one page that opens from disk without a network, on a phone, in the dark, and to a screen reader.

Plotly's library is inside, compressed; the browser unpacks it. Each figure's numbers stand below it as a table.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader

from imagelab.figures.comparison import compressed_plotly

if TYPE_CHECKING:
    from imagelab.comparison.differences import Picture
    from imagelab.tables import Row


@dataclass(frozen=True)
class Item:
    """A sentence of a list, and the section that it comes from, if any."""

    text: str
    link: str = ""
    link_text: str = ""


@dataclass(frozen=True)
class Plot:
    """A figure of plotly, what it shows in words, and its numbers as a table."""

    id: str
    title: str
    caption: str
    figure: Any
    rows: "Sequence[Row]" = ()

    @property
    def json(self) -> str:
        """For a script element, which the text must not be able to close."""
        return str(self.figure.to_json()).replace("<", "\\u003c")


@dataclass(frozen=True)
class Section:
    """A part of the page: text, a list, a table, figures, galleries by their headings; each may be left away."""

    id: str
    title: str
    text: str = ""
    items: Sequence[Item] = ()
    rows: "Sequence[Row]" = ()
    caption: str = ""
    plots: Sequence[Plot] = field(default_factory=tuple)
    galleries: "Mapping[str, Sequence[Picture]]" = field(default_factory=dict)


def render(title: str, subtitle: str, sections: Sequence[Section], template: str = "report.html.j2") -> str:
    """The page as text; another template may show the galleries in its own way."""
    environment = Environment(
        loader=PackageLoader("imagelab", "comparison"), autoescape=True, trim_blocks=True, keep_trailing_newline=True
    )
    has_plots = any(section.plots for section in sections)
    plotly = base64.b64encode(compressed_plotly()).decode() if has_plots else ""
    values = {"title": title, "subtitle": subtitle, "sections": sections, "plotly": plotly}
    return environment.get_template(template).render(values)
