"""Scores and tables of a classifier's probabilities: arrays in, numbers and frames out."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report, confusion_matrix, f1_score, log_loss, top_k_accuracy_score

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Evaluation:
    """What a network says of a split.

    Attributes:
        labels: the truth, int64 (n,).
        probabilities: float32 (n, num_classes), each row adding up to 1.
        class_names: the name of each label.
        superclasses, superclass_names: the superclass of each class and their names; empty where there are none.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    class_names: tuple[str, ...]
    superclasses: tuple[int, ...] = ()
    superclass_names: tuple[str, ...] = ()

    @cached_property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, int64 (n,)."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def confidence(self) -> np.ndarray:
        """The probability of the predicted class, (n,)."""
        return self.probabilities.max(axis=1)

    @cached_property
    def correct(self) -> np.ndarray:
        return self.predicted == self.labels

    @cached_property
    def confusion(self) -> pd.DataFrame:
        """Counts: a row a true class, a column a predicted class."""
        counts = confusion_matrix(self.labels, self.predicted, labels=range(len(self.class_names)))
        return pd.DataFrame(counts, index=pd.Index(self.class_names, name="true"), columns=self.class_names)

    @cached_property
    def in_superclass(self) -> np.ndarray:
        """Whether each image was given some class of its own superclass."""
        of_class = np.array(self.superclasses)
        return of_class[self.predicted] == of_class[self.labels]

    @cached_property
    def superclass_confusion(self) -> pd.DataFrame:
        """Counts: a row a true superclass, a column the superclass of the predicted class."""
        of_class, names = np.array(self.superclasses), self.superclass_names
        counts = confusion_matrix(of_class[self.labels], of_class[self.predicted], labels=range(len(names)))
        return pd.DataFrame(counts, index=pd.Index(names, name="true"), columns=names)

    def scores(self) -> dict[str, float]:
        """The single figures: loss, accuracy, macro F1, calibration error; top-5 where there are over ten classes.

        Macro F1 is the mean over the classes that have images.

        Where there are superclasses: the share of images given a class of theirs, and of the errors that stay inside.
        """
        every, present = range(len(self.class_names)), np.unique(self.labels)
        probabilities = self.probabilities.astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        scores = {
            "loss": float(log_loss(self.labels, probabilities, labels=every)),
            "accuracy": float(self.correct.mean()),
            "macro_f1": float(f1_score(self.labels, self.predicted, labels=present, average="macro", zero_division=0)),
            "calibration_error": self.calibration_error(),
        }
        if self.superclasses:
            scores["superclass_accuracy"] = float(self.in_superclass.mean())
            errors = max(1, int((~self.correct).sum()))
            scores["errors_inside_superclass"] = float((self.in_superclass & ~self.correct).sum()) / errors
        if len(self.class_names) > 10:
            scores["top_5_accuracy"] = float(top_k_accuracy_score(self.labels, self.probabilities, k=5, labels=every))
        return scores

    def calibration(self) -> pd.DataFrame:
        """Images binned by confidence: bounds, count, mean confidence and accuracy of each bin that has any."""
        edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
        bins = np.clip(np.digitize(self.confidence, edges[1:-1], right=True), 0, CALIBRATION_BINS - 1)
        frame = pd.DataFrame({"bin": bins, "confidence": self.confidence, "accuracy": self.correct.astype(float)})
        table = frame.groupby("bin").agg(
            count=("bin", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
        )
        table.insert(0, "from", edges[table.index])
        table.insert(1, "to", edges[table.index + 1])
        return table.reset_index(drop=True)

    def calibration_error(self) -> float:
        """Expected calibration error: mean gap of confidence and accuracy over 15 bins (Guo et al., 2017)."""
        table = self.calibration()
        gaps = (table["confidence"] - table["accuracy"]).abs()
        return float((gaps * table["count"]).sum() / table["count"].sum())

    def classification_report(self) -> pd.DataFrame:
        """scikit-learn's report: precision, recall, F1 and support of each class, and their averages."""
        report = classification_report(
            self.labels,
            self.predicted,
            labels=range(len(self.class_names)),
            target_names=self.class_names,
            output_dict=True,
            zero_division=0,
        )
        if "accuracy" in report:  # one number where the others have four
            averages = {"precision": report["accuracy"], "recall": report["accuracy"], "f1-score": report["accuracy"]}
            report["accuracy"] = {**averages, "support": len(self.labels)}
        return pd.DataFrame(report).T.rename_axis("class")

    def per_class(self) -> pd.DataFrame:
        """Each class, worst first: accuracy, errors, mean confidence and the class it is most often taken for."""
        counts = self.confusion.to_numpy()
        errors = counts - np.diag(np.diag(counts))
        support = np.where(counts.any(axis=1), counts.sum(axis=1), np.nan)  # a class without images has no accuracy
        taken_for = [self.class_names[i] if errors[row, i] else "" for row, i in enumerate(errors.argmax(axis=1))]
        mean_confidence = np.bincount(self.labels, self.confidence, minlength=len(support)) / support
        table = pd.DataFrame(
            {
                "class": self.class_names,
                "images": counts.sum(axis=1),
                "accuracy": np.diag(counts) / support,
                "errors": errors.sum(axis=1),
                "mean_confidence": mean_confidence,
                "most_often_taken_for": taken_for,
                "times": errors.max(axis=1),
            }
        )
        return table.sort_values(["accuracy", "class"], ignore_index=True)

    def most_confused(self) -> pd.DataFrame:
        """Every pair of classes that was mistaken, most frequent first; `of_true` is the share of the true class."""
        counts = self.confusion.to_numpy()
        true, predicted = np.nonzero(counts * (1 - np.eye(len(counts), dtype=int)))
        names = np.array(self.class_names)
        table = pd.DataFrame(
            {"true": names[true], "predicted": names[predicted], "count": counts[true, predicted]}
        ).assign(of_true=counts[true, predicted] / counts.sum(axis=1)[true])
        return table.sort_values(["count", "true", "predicted"], ascending=[False, True, True], ignore_index=True)

    def predictions(self) -> pd.DataFrame:
        """A row an image, in the split's order: truth, prediction, its probability and the truth's."""
        names = np.array(self.class_names)
        return pd.DataFrame(
            {
                "index": np.arange(len(self.labels)),
                "label": self.labels,
                "class": names[self.labels],
                "predicted": self.predicted,
                "predicted_class": names[self.predicted],
                "probability": self.confidence,
                "probability_of_truth": self.probabilities[np.arange(len(self.labels)), self.labels],
                "correct": self.correct,
            }
        )

    def superclass_table(self) -> pd.DataFrame:
        """Each superclass, worst first: accuracy by class and by superclass, share of errors that stay inside."""
        names = np.array(self.superclass_names)[np.array(self.superclasses)[self.labels]]
        frame = pd.DataFrame({"superclass": names, "fine": self.correct, "coarse": self.in_superclass})
        table = frame.groupby("superclass").agg(
            images=("fine", "size"), class_accuracy=("fine", "mean"), superclass_accuracy=("coarse", "mean")
        )
        errors = (1 - table["class_accuracy"]).replace(0, np.nan)
        table["errors_inside"] = ((table["superclass_accuracy"] - table["class_accuracy"]) / errors).fillna(0)
        return table.sort_values("class_accuracy").reset_index()

    def display_order(self) -> np.ndarray:
        """The order of classes that puts those of one superclass together."""
        return np.argsort(self.superclasses, kind="stable") if self.superclasses else np.arange(len(self.class_names))

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table under its file's stem; an index that has a name is a column of its own."""
        tables = {
            "confusion_matrix": self.confusion,
            "classification_report": self.classification_report(),
            "per_class": self.per_class(),
            "most_confused": self.most_confused(),
            "calibration": self.calibration(),
        }
        if self.superclasses:
            tables["superclasses"] = self.superclass_table()
            tables["superclass_confusion_matrix"] = self.superclass_confusion
        return tables
