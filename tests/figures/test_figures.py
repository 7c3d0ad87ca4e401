"""Each figure is drawn for real; what it says is read off its axes."""

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from imagelab.figures.confusion import draw_confusion, explore_confusion
from imagelab.figures.curves import draw_calibration, draw_curves, explore_curves
from imagelab.figures.diversity import draw_diversity
from imagelab.figures.galleries import draw_predictions, draw_samples

ROWS = [
    {
        **{"epoch": e, "phase": "train", "loss": 1 / e, "val_loss": 1.2 / e},
        **{"accuracy": 0.5, "val_accuracy": 0.4, "learning_rate": 0.1},
    }
    for e in range(1, 6)
]


def drawn(figure: Figure) -> Figure:
    figure.savefig(io.BytesIO())
    return figure


def matrix(classes: int) -> pd.DataFrame:
    counts = np.eye(classes, dtype=int) * 80 + np.random.default_rng(0).integers(0, 3, (classes, classes))
    names = [f"class {i}" for i in range(classes)]
    return pd.DataFrame(counts, index=pd.Index(names, name="true"), columns=names)


def test_curves_show_training_and_validation_over_epochs() -> None:
    figure = drawn(draw_curves(ROWS, 3, "a title"))
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy", "learning rate"]
    validation = figure.axes[0].get_lines()[1]
    assert validation.get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert validation.get_ydata().tolist() == [row["val_loss"] for row in ROWS]
    assert "best epoch (3)" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_a_new_phase_is_marked_where_it_begins() -> None:
    rows = [{**row, "phase": "head" if row["epoch"] < 4 else "fine_tune"} for row in ROWS]
    figure = drawn(draw_curves(rows, 3, ""))
    for axes in figure.axes:
        (mark,) = [line for line in axes.get_lines() if line.get_label() == "fine tune from epoch 4"]
        assert mark.get_xdata() == [3.5, 3.5]
    assert [a.text for a in explore_curves(rows, 3, "").layout.annotations].count("fine tune") == 3
    assert not any("from epoch" in text.get_text() for text in drawn(draw_curves(ROWS, 3, "")).axes[0].texts)


def test_a_learning_rate_that_falls_to_zero_stays_inside_its_panel() -> None:
    rates = (0.1, 0.05, 0.0, 0.001, 1e-9)
    rows = [{**row, "phase": row["phase"] if row["epoch"] < 4 else "fine_tune"} for row in ROWS]
    rows = [{**row, "learning_rate": rate} for row, rate in zip(rows, rates, strict=True)]
    axes = drawn(draw_curves(rows, 3, "")).axes[2]
    points = axes.transData.transform(list(enumerate(rates, 1)))
    heights = axes.transAxes.inverted().transform(points)[:, 1]
    assert heights.min() >= 0
    assert 0.3 < heights[3] < heights[0]  # the rate of fine-tuning can be told from 0


def test_top_5_gets_a_panel_where_there_is_one() -> None:
    rows = [{**row, "top_5_accuracy": 0.8, "val_top_5_accuracy": 0.7} for row in ROWS]
    assert len(drawn(draw_curves(rows, 3, "")).axes) == 4
    assert len(explore_curves(rows, 3, "").data) == 7


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_a_confusion_matrix_names_every_class(classes: int) -> None:
    confusion = matrix(classes)
    figure = drawn(draw_confusion(confusion, np.arange(classes), [], "a title"))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(confusion.columns)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == list(confusion.columns)
    counts = {text.get_text() for text in figure.axes[0].texts}
    assert (str(confusion.iloc[0, 0]) in counts) == (classes <= 20)


def test_labels_of_100_classes_do_not_overlap() -> None:
    figure = drawn(draw_confusion(matrix(100), np.arange(100), [], ""))
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(lower.y1 <= upper.y0 + 1 for upper, lower in itertools.pairwise(boxes))


def test_superclasses_are_put_together_and_named() -> None:
    groups = ["even" if i % 2 == 0 else "odd" for i in range(30)]
    order = np.argsort(groups, kind="stable")
    figure = drawn(draw_confusion(matrix(30), order, groups, ""))
    assert figure.axes[0].get_yticklabels()[1].get_text() == "class 2"
    assert [text.get_text() for text in figure.axes[0].texts] == ["even", "odd"]
    page = explore_confusion(matrix(30), order, "")
    assert page.data[0].y[1] == "class 2"
    assert page.data[0].customdata[1][1] == matrix(30).iloc[2, 2]


@pytest.mark.parametrize("channels", [1, 3])
def test_galleries_caption_each_image(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (11, 8, 8, channels), np.uint8)
    labels = np.arange(11) % 3
    predicted = np.zeros(11, int)
    names = ("cat", "maple_tree", "dog")
    figure = drawn(draw_predictions(images, labels, predicted, np.linspace(1, 0.4, 11), names, "a title"))
    captions = [axes.get_title() for axes in figure.axes][:3]
    assert captions == ["cat 100.0%", "cat 94.0%\ntruly maple tree", "cat 88.0%\ntruly dog"]
    samples = drawn(draw_samples(images, labels, names, ""))
    assert [axes.get_title() for axes in samples.axes][:3] == ["cat", "maple tree", "dog"]


FORMULA = r"$\foo$"  # no formula that matplotlib knows


def test_names_and_titles_are_no_formulas() -> None:
    confusion = matrix(30).rename(columns={"class 0": FORMULA})
    groups = [FORMULA] * 15 + ["other"] * 15
    figure = drawn(draw_confusion(confusion, np.arange(30), groups, FORMULA))
    assert figure.axes[0].get_xticklabels()[0].get_text() == FORMULA
    images, labels = np.zeros((2, 8, 8, 1), np.uint8), np.arange(2)
    names = (FORMULA, r"\$\bar$")
    drawn(draw_samples(images, labels, names, FORMULA))
    drawn(draw_predictions(images, labels, labels[::-1], np.ones(2), names, FORMULA))
    drawn(draw_curves(ROWS, 3, FORMULA))
    table = pd.DataFrame({"from": [0.0], "to": [1.0], "count": [5], "confidence": [0.5], "accuracy": [0.4]})
    drawn(draw_calibration(table, FORMULA))


def test_an_empty_gallery_can_be_drawn() -> None:
    nothing = np.zeros((0, 8, 8, 1), np.uint8)
    none = np.zeros(0, int)
    drawn(draw_predictions(nothing, none, none, none, ("a",), "no mistakes"))


def test_calibration() -> None:
    table = pd.DataFrame(
        {"from": [0.4, 0.8], "to": [0.6, 1.0], "count": [5, 5], "confidence": [0.5, 0.9], "accuracy": [0.4, 1]}
    )
    bars = drawn(draw_calibration(table, "")).axes[0].patches
    assert [bar.get_height() for bar in bars] == [0.4, 1]


@pytest.mark.parametrize("count", [2, 20])
def test_diversity_names_every_pair_of_networks_once(count: int) -> None:
    names = [f"network {number}" for number in range(count)]
    pairs = pd.DataFrame(list(itertools.combinations(range(count), 2)), columns=["first", "second"])
    figure = drawn(draw_diversity(pairs.assign(disagree=0.25, both_err=0.125), names, ""))
    for axes, share in zip(figure.axes, ("25.0", "12.5"), strict=True):
        assert [text.get_text() for text in axes.texts] == [share] * len(pairs)
        assert [label.get_text() for label in axes.get_xticklabels()] == names[:-1]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names[1:]  # both panels share them
