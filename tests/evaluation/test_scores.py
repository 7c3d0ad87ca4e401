import numpy as np
import pytest

from imagelab.evaluation.scores import Evaluation

LABELS = np.array([0, 0, 1, 1, 2, 2])
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.9, 0.0], [0.2, 0.7, 0.1], [0.05, 0.05, 0.9], [0.5, 0.3, 0.2]], np.float32
)
EVALUATION = Evaluation(LABELS, PROBABILITIES, ("a", "b", "c"), (0, 0, 1), ("left", "right"))


def test_scores() -> None:
    scores = EVALUATION.scores()
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["loss"] == pytest.approx(-np.log([0.8, 0.3, 0.9, 0.7, 0.9, 0.2]).mean(), rel=1e-5)
    assert scores["macro_f1"] == pytest.approx(np.mean([0.5, 0.8, 2 / 3]))
    assert "top_5_accuracy" not in scores


def test_calibration_error_is_the_mean_gap_of_confidence_and_accuracy() -> None:
    n = 1000
    labels = np.zeros(n, np.int64)
    labels[:300] = 1  # 70 % right
    sure = np.tile(np.array([[0.9, 0.1]], np.float32), (n, 1))
    assert Evaluation(labels, sure, ("a", "b")).calibration_error() == pytest.approx(0.2, abs=1e-6)
    honest = np.tile(np.array([[0.7, 0.3]], np.float32), (n, 1))
    assert Evaluation(labels, honest, ("a", "b")).calibration_error() == pytest.approx(0, abs=1e-6)


def test_top_5_with_more_than_ten_classes() -> None:
    names = tuple(f"c{i}" for i in range(12))
    probabilities = np.tile(np.linspace(1, 2, 12), (12, 1)) / np.linspace(1, 2, 12).sum()
    assert Evaluation(np.arange(12), probabilities, names).scores()["top_5_accuracy"] == pytest.approx(5 / 12)


def test_confusion_has_a_row_a_true_class() -> None:
    assert EVALUATION.confusion.loc["a", "b"] == 1
    assert EVALUATION.confusion.loc["c", "a"] == 1
    assert EVALUATION.confusion.to_numpy().sum() == 6


def test_most_confused_counts_pairs() -> None:
    table = EVALUATION.most_confused()
    assert table[["true", "predicted", "count"]].values.tolist() == [["a", "b", 1], ["c", "a", 1]]
    assert table["of_true"].tolist() == [0.5, 0.5]


def test_per_class_is_worst_first() -> None:
    table = EVALUATION.per_class().set_index("class")
    assert list(table.index) == ["a", "c", "b"]
    assert table.loc["c", "most_often_taken_for"] == "a"
    assert table.loc["b", "most_often_taken_for"] == ""


def test_superclasses_tell_errors_inside_from_errors_outside() -> None:
    table = EVALUATION.superclass_table().set_index("superclass")
    assert table.loc["left", ["class_accuracy", "superclass_accuracy", "errors_inside"]].tolist() == [0.75, 1, 1]
    assert table.loc["right", ["class_accuracy", "superclass_accuracy", "errors_inside"]].tolist() == [0.5, 0.5, 0]


def test_superclasses_have_scores_and_a_matrix_of_their_own() -> None:
    scores = EVALUATION.scores()
    assert scores["superclass_accuracy"] == pytest.approx(5 / 6)
    assert scores["errors_inside_superclass"] == pytest.approx(1 / 2)
    assert EVALUATION.superclass_confusion.to_numpy().tolist() == [[4, 0], [1, 1]]
    assert list(EVALUATION.superclass_confusion.index) == ["left", "right"]
    assert not any("superclass" in name for name in Evaluation(LABELS, PROBABILITIES, ("a", "b", "c")).scores())


def test_predictions_have_a_row_an_image_in_order() -> None:
    table = EVALUATION.predictions()
    assert table["label"].tolist() == LABELS.tolist()
    assert table.loc[1, "predicted_class"] == "b"
    assert table.loc[1, "probability_of_truth"] == pytest.approx(0.3)


def test_a_class_that_is_absent_does_no_harm() -> None:
    evaluation = Evaluation(LABELS[:4], PROBABILITIES[:4], ("a", "b", "c"))
    assert set(evaluation.tables()) >= {"confusion_matrix", "classification_report", "per_class", "most_confused"}
    assert evaluation.per_class()["images"].sum() == 4
