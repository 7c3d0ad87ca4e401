"""Images whose classes are known, of a folder or of Parquet files, as arrays; what cannot be used is named.

Rows are found and images decoded as for predictions (inputs.py, parquet_rows.py, local_engine.py).
"""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from imagelab.console import printable
from imagelab.errors import SettingsError
from imagelab.prediction.inputs import SUFFIXES, open_source, other_files
from imagelab.prediction.local_engine import decode_one, pool_of
from imagelab.prediction.parquet_rows import Content, Reader, Source, UnreadableError, read_content
from imagelab.processor import usable_cores
from imagelab.progress import images_progress

COLUMNS = ("image", "given_class", "problem", "reason")  # of what is left out
ROWS = 256  # that are decoded together
LABEL = "label"  # the column with the classes, if no other is named
UNREADABLE, NO_CLASS, OTHER_CLASS = "unreadable", "without a class", "of an unknown class"
NO_IMAGE = "with names of no images"


@dataclass(frozen=True)
class LabelledImages:
    """Images that can be used, in their order, and those that cannot.

    Attributes:
        images: uint8 (n, height, width, channels), in the network's size.
        labels: int64 (n,).
        sizes: width and height as they were given, float (n, 2); NaN where images came as text.
        left_out: a row an image that cannot be used: image (path or row), given_class, problem, reason.
    """

    images: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    left_out: pd.DataFrame

    def problems(self) -> str:
        """How many were left out and why, in words; empty where none were."""
        return ", ".join(f"{count:,} {problem}" for problem, count in Counter(self.left_out["problem"]).items())


class Row(NamedTuple):
    """An image before it is decoded: its name, the class that was given, that class's number (None: unknown)."""

    name: str
    given: Any
    label: int | None
    content: Content


class ClassNumbers:
    """Finds the number of a class by what people write: its name, also as a folder can be named, or its number."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.count = len(class_names)
        self.exact = {name: number for number, name in enumerate(class_names)}
        alike = Counter(map(simplified, class_names))
        self.similar = {simplified(name): i for name, i in self.exact.items() if alike[simplified(name)] == 1}

    def find(self, given: Any) -> int | None:
        """The number of a class ("T-shirt/top", "t_shirt_top", 0); None where there is no such class."""
        if isinstance(given, bytes):
            given = given.decode("utf-8", "replace")
        if isinstance(given, str):
            known = self.exact.get(given)
            if known is None and re.search(r"[^\W\d_]", given):  # a folder -1 is not the class "1"
                known = self.similar.get(simplified(given))
            if known is not None or not re.fullmatch(r"\d{1,9}", given):
                return known
        number = float(given) if isinstance(given, int | float | str) and not isinstance(given, bool) else np.nan
        return int(number) if number in range(self.count) else None


def simplified(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def read_labelled_images(
    path: Path, class_names: Sequence[str], label_column: str | None, served: Any
) -> LabelledImages:
    """Read all images whose class is known.

    Args:
        path: a folder whose subfolders are named like classes, a Parquet file, or a folder of such files.
        label_column: of a Parquet file; None: the one called label.
        served: the network as served_model.py has it, which brings images to its size.

    Raises:
        SettingsError: nothing is left, there is no such column, or a folder of images, which has none.
        DataError: a file cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="imagelab-") as folder:
        listing = Path(folder) / "images.parquet"
        source = open_source(path, listing, listing, Path(folder))
        chunks = rows_of(source, ClassNumbers(class_names), column_of(source, label_column, path))
        found = collect(chunks, source.count, served)
        if source.folder is not None:
            found = replace(found, left_out=pd.concat([found.left_out, no_images(source.folder)], ignore_index=True))
    if not len(found.labels):
        raise SettingsError(
            f"images={path}: no image can be used ({found.problems()}); "
            f"{first_reason(found)}; classes are: {shortened(class_names, 20)}"
        )
    return found


def column_of(source: Source, label_column: str | None, path: Path) -> str:
    """The column with the classes; in a folder of images, the names of its folders stand for it."""
    column = label_column or LABEL
    if source.folder is not None and label_column is not None:
        raise SettingsError(
            f"label_column={label_column}: {path} is a folder of images, whose classes are the names of the folders in "
            "it; leave label_column out, or give a Parquet file"
        )
    if source.folder is None and column not in source.others.names:
        names = ", ".join(source.others.names)[:200] or "none"
        raise SettingsError(f"label_column={column}: {path} has no such column; besides images it has: {names}")
    return column


def rows_of(source: Source, numbers: ClassNumbers, label_column: str) -> Iterator[list[Row]]:
    rows_at_once = source.rows_at_once(ROWS)
    reader = Reader(source, rows_at_once)
    for first in range(0, source.count, rows_at_once):
        table = reader.read(first, min(first + rows_at_once, source.count))
        names, given = named(table, source, first, label_column)
        given = [None if isinstance(value, str | bytes) and not value.strip() else value for value in given]
        labels = [None if value is None else numbers.find(value) for value in given]
        yield [Row(*row) for row in zip(names, given, labels, source.contents(table), strict=True)]


def named(table: pa.Table, source: Source, first: int, label_column: str) -> tuple[list[str], list[Any]]:
    """What each row is called, and the class that it is said to be of."""
    if source.folder is None:
        return [f"row {first + i}" for i in range(table.num_rows)], table.column(label_column).to_pylist()
    paths = table.column("path").to_pylist()
    return paths, [path.split("/")[0] if "/" in path else None for path in paths]


def collect(chunks: Iterator[list[Row]], count: int, served: Any) -> LabelledImages:
    images, labels, sizes, left_out = [], [], [], []
    with pool_of(usable_cores()) as pool, images_progress(count, "read images") as advance:
        for rows in chunks:
            known = [row for row in rows if row.label is not None]
            decoded = dict(zip(map(id, known), pool.map(lambda row: decode(served, row), known), strict=True))
            for row in rows:
                image, size = decoded.get(id(row), (None, None))
                if isinstance(image, np.ndarray):
                    images.append(image)
                    labels.append(row.label)
                    sizes.append(size)
                else:
                    left_out.append((row.name, row.given, *problem_of(row, image)))
            advance(len(rows))
    return LabelledImages(
        np.stack(images) if images else np.empty((0, *served.image_shape), np.uint8),
        np.array(labels, np.int64),
        np.array(sizes, float).reshape(-1, 2),
        pd.DataFrame(left_out, columns=COLUMNS),
    )


def no_images(folder: Path) -> pd.DataFrame:
    """Rows of `left_out` for the files that were not looked into: among them may be images that nobody would miss."""
    reason = f"its name ends in none of {', '.join(SUFFIXES)}"
    rows = [(path, path.split("/")[0] if "/" in path else None, NO_IMAGE, reason) for path in other_files(folder)]
    return pd.DataFrame(rows, columns=COLUMNS)


def decode(served: Any, row: Row) -> tuple[np.ndarray | str, tuple[float, float]]:
    """The image, or the reason why it cannot be read, and its width and height as given."""
    try:
        content = read_content(row.content)
    except UnreadableError as error:
        return str(error), (np.nan, np.nan)
    image = decode_one(served, content)
    if isinstance(image, str) or isinstance(content, str):
        return image, (np.nan, np.nan)
    with Image.open(BytesIO(content)) as picture:
        return image, (float(picture.width), float(picture.height))


def problem_of(row: Row, reason: str | None) -> tuple[str, str]:
    if row.given is None:
        return NO_CLASS, "it has no class: lay it in a folder named like one, or fill its row of the column"
    if row.label is None:
        return OTHER_CLASS, f"{str(row.given)[:100]!r} is no class that the network knows"
    return UNREADABLE, str(reason)


def first_reason(found: LabelledImages) -> str:
    row = found.left_out.iloc[0]
    return f"{row['image']}: {row['reason']}"


def shortened(names: Sequence[str], most: int) -> str:
    """The first names, each cut to 50 characters and on one line, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(printable(name[:50]) for name in names[:most]) + more
