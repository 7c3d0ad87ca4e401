"""Rows of pictures, each row under a heading, as a gallery of explanations is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

WIDTH, HEIGHT = 1.3, 1.95  # inches, of a picture and of a row with its heading and captions


@dataclass(frozen=True)
class CaptionedPicture:
    """A picture, uint8 (height, width, 3), and what stands above it."""

    picture: np.ndarray
    text: str
    color: str


@dataclass(frozen=True)
class PictureRow:
    """Pictures under a heading; `otherwise` is said where there are none."""

    heading: str
    pictures: Sequence[CaptionedPicture]
    otherwise: str


def draw_picture_rows(rows: Iterable[PictureRow], title: str) -> Figure:
    """A row below the other, all as wide as the longest."""
    rows = list(rows)
    columns = max(4, *(len(row.pictures) for row in rows))
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * len(rows) + 0.4), layout="constrained")
    figure.suptitle(title, parse_math=False, fontsize=11)
    for part, row in zip(figure.subfigures(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        heading = row.heading if row.pictures else f"{row.heading}: {row.otherwise}"
        part.suptitle(heading, x=0.005, ha="left", fontsize=10, fontweight="bold", parse_math=False)
        for axes in part.subplots(1, columns, squeeze=False).flat:
            axes.axis("off")
        for axes, each in zip(part.axes, row.pictures, strict=False):
            axes.imshow(each.picture)
            text = each.text.replace("_", " ")
            axes.set_title(text, fontsize=7, color=each.color, y=1, parse_math=False)
    return figure
