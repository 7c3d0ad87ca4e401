"""What is shown of explained images: rows of pictures in a figure, sections of a page, and a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from imagelab.comparison.report import Item, Section
from imagelab.explanation.explainer import GRAD_CAM, GRADIENT_TIMES_INPUT
from imagelab.explanation.gallery import ExplainedImage
from imagelab.explanation.pictures import data_url, enlarged, overlay
from imagelab.figures.picture_rows import CaptionedPicture, PictureRow

TEMPLATE = "explanation.html.j2"
HOW = {
    GRAD_CAM: "Red marks places where features are strong that speak for the class (Grad-CAM: each feature counts as "
    "much as its mean slope over all places). The map has only as many places as the network's last feature maps; what "
    "lies between is smoothed.",
    GRADIENT_TIMES_INPUT: "The red pixels speak for the class (gradient times input): this network has no "
    "feature maps of more than one pixel, which Grad-CAM needs. A black pixel is never red, even where the network "
    "needs it to be black.",
}
SCALE = (
    "Each map has its own scale: red is the most that the map has, which may be little. What speaks against the class "
    "is not shown."
)
LIMITS = (
    "The maps show where the score of a class comes from, not why, and not whether that is a good reason. "
    "A map on the object is no proof that the network understands it. Grad-CAM can mark places that add nothing, such "
    "as the background, where the layers after the feature maps weigh each place by itself (basic_cnn, deeper_cnn). "
    "The few images here are the surest answers, not the usual ones. What a change of the image would do, only a "
    "changed image tells."
)


@dataclass(frozen=True)
class ShownMap:
    """A picture with a map, as the page has it: the address of the picture itself, its text, and its caption."""

    address: str
    alt: str
    caption: str


@dataclass(frozen=True)
class ShownImage:
    """An explained image as the page has it."""

    answer: str
    truth: str
    pictures: Sequence[ShownMap]


@dataclass(frozen=True)
class ExplainedClass(Section):
    """A class of the page: its images, under a heading for right and for wrong ones."""

    images: Mapping[str, Sequence[ShownImage]] = field(default_factory=dict)


def words_of(method: str) -> str:
    return f"red is what speaks for the class ({method})"


def of_class(label: int, explained: Sequence[ExplainedImage]) -> tuple[list[ExplainedImage], list[ExplainedImage]]:
    """The images of a class that the network gets right, and those that it gets wrong."""
    images = [each for each in explained if each.label == label]
    return [each for each in images if each.is_right], [each for each in images if not each.is_right]


def picture_rows(
    classes: Sequence[int], explained: Sequence[ExplainedImage], names: Sequence[str]
) -> Iterator[PictureRow]:
    """Two rows a class: each image with its map beside it."""
    for label in classes:
        right, wrong = of_class(label, explained)
        yield PictureRow(f"{names[label]}, right", list(pairs_of(right, names, "#2a7a2a")), "none is right")
        yield PictureRow(f"{names[label]}, wrong", list(pairs_of(wrong, names, "#b02020")), "none is wrong")


def pairs_of(images: Sequence[ExplainedImage], names: Sequence[str], color: str) -> Iterator[CaptionedPicture]:
    for each in images:
        truth = "\n " if each.is_right else f"\ntruly {names[each.label]} {each.truth_probability:.1%}"
        yield CaptionedPicture(enlarged(each.image), f"{names[each.predicted]} {each.confidence:.1%}{truth}", color)
        yield CaptionedPicture(overlay(each.image, each.map), f"for {names[each.predicted]}\n ", "#55595f")


def sections_of(
    classes: Sequence[int], explained: Sequence[ExplainedImage], names: Sequence[str], method: str
) -> list[Section]:
    """The page: how to read it, and the classes."""
    items = [Item(text) for text in (HOW[method], SCALE, LIMITS)]
    sections: list[Section] = [Section("how-to-read", "How to read the maps", items=items)]
    for label in classes:
        groups = zip(("Right", "Wrong"), of_class(label, explained), strict=True)
        images = {heading: [shown(each, names) for each in group] for heading, group in groups}
        sections.append(ExplainedClass(f"class-{label}", names[label], images=images))
    return sections


def shown(each: ExplainedImage, names: Sequence[str]) -> ShownImage:
    truth, guess = names[each.label], names[each.predicted]
    original = ShownMap(data_url(enlarged(each.image)), f"image {each.index}, truly {truth}", f"image {each.index}")
    maps = {guess: each.map} if each.truth_map is None else {guess: each.map, truth: each.truth_map}
    pictures = [
        ShownMap(data_url(overlay(each.image, found)), f"the same, red where it speaks for {name}", f"for {name}")
        for name, found in maps.items()
    ]
    of_truth = "" if each.is_right else f"truly {truth} {each.truth_probability:.1%}"
    return ShownImage(f"{guess} {each.confidence:.1%}", of_truth, [original, *pictures])


def table_of(explained: Sequence[ExplainedImage], names: Sequence[str], method: str) -> pd.DataFrame:
    """A row an image."""
    return pd.DataFrame(
        {
            "index": [each.index for each in explained],
            "class": [names[each.label] for each in explained],
            "predicted_class": [names[each.predicted] for each in explained],
            "probability": [each.confidence for each in explained],
            "probability_of_truth": [each.truth_probability for each in explained],
            "method": method,
        }
    )
