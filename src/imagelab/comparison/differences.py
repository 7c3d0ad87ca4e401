"""Where two networks differ: their confusion matrices, and the images that only one of them gets right."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from imagelab.comparison.pairs import Pair
from imagelab.comparison.results import Results
from imagelab.explanation.pictures import data_url, enlarged

if TYPE_CHECKING:
    from imagelab.data.dataset import Dataset

MOST_PICTURES = 12  # of each side
SIDE = 64  # pixels of a picture


@dataclass(frozen=True)
class Picture:
    """A test image that one network got right and the other wrong.

    Attributes:
        address: the image itself as a data: address; empty where the data set is not on this machine.
    """

    index: int
    truth: str
    taken_for: str
    address: str = ""


def answers_of(pair: Pair, results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What both networks of a pair say of each test image."""
    first, second = (results.predictions[training.run_id] for training in pair.networks)
    return first, second


def confusion_difference(pair: Pair, results: Results) -> tuple[np.ndarray, list[str]]:
    """Images: the first's confusion matrix less the second's, true classes as rows; and the names of the classes."""
    first, second = answers_of(pair, results)
    columns = (("label", "class"), ("predicted", "predicted_class"))
    named = [each[list(both)].set_axis(["number", "name"], axis=1) for each in (first, second) for both in columns]
    names = pd.concat(named).drop_duplicates("number").set_index("number")["name"].sort_index()
    place = {number: index for index, number in enumerate(names.index)}
    difference = np.zeros((len(names), len(names)), dtype=int)
    for sign, answers in ((1, first), (-1, second)):
        np.add.at(difference, (answers["label"].map(place), answers["predicted"].map(place)), sign)
    return difference, [str(name) for name in names]


def only_one_right(pair: Pair, results: Results, dataset: "Dataset | None") -> dict[str, list[Picture]]:
    """Images that only one of the two got right, under a heading each: the surest mistakes of the other come first."""
    first, second = answers_of(pair, results)
    galleries = {}
    for right, wrong, place in ((first, second, 0), (second, first, 1)):
        alone = wrong[right["correct"].to_numpy() & ~wrong["correct"].to_numpy()]
        surest = alone.sort_values("probability", ascending=False, kind="stable").head(MOST_PICTURES)
        pictures = [
            Picture(index, str(row["class"]), str(row["predicted_class"]), address_in(dataset, index))
            for index, row in zip(map(int, surest.index), surest.to_dict("records"), strict=True)
        ]
        if pictures:
            galleries[f"Only {pair.network_name(place)} is right"] = pictures
    return galleries


def address_in(dataset: "Dataset | None", index: int) -> str:
    return data_url(enlarged(dataset.test.images[index], SIDE)) if dataset else ""
