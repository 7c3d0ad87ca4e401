"""What a change of a network's answers does to its scores: before and after, on the same images."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation.significance import SIGNIFICANT, PairedOutcomes, paired_outcomes


@dataclass(frozen=True)
class Effect:
    """What a network says of the same images before and after a change.

    Attributes:
        milliseconds: an image, before and after; None where the change costs none.
    """

    before: Evaluation
    after: Evaluation
    milliseconds: tuple[float, float] | None = None

    @property
    def pairs(self) -> PairedOutcomes:
        return paired_outcomes(self.before.correct, self.after.correct)

    def row(self) -> dict[str, float]:
        """The scores before and after, by name."""
        before, after = self.before.scores(), self.after.scores()
        names = [name for name in ("accuracy", "loss", "calibration_error", "top_5_accuracy") if name in before]
        row: dict[str, float] = {"images": len(self.before.labels)}
        for name in names:
            row |= {f"{name}_before": before[name], f"{name}_after": after[name]}
        if self.milliseconds:
            row |= {"p_value": self.pairs.p_value()}
            row |= dict(zip(("ms_an_image_before", "ms_an_image_after"), self.milliseconds, strict=True))
        return row


def effect_table(effects: Mapping[str, Effect]) -> pd.DataFrame:
    """A row a part of the data: what the change does to its scores."""
    return pd.DataFrame([{"images_of": part, **effect.row()} for part, effect in effects.items()])


def compared_with_training(trained: Mapping[str, float], scores: Mapping[str, float]) -> pd.DataFrame:
    """The scores that a training has logged beside the new ones, a row a score that both have."""
    both = [name for name in scores if name in trained]
    table = pd.DataFrame({"score": both, "training": [trained[name] for name in both]})
    table["evaluation"] = [scores[name] for name in both]
    return table.assign(difference=table["evaluation"] - table["training"])


def calibration_words(temperature: float, part: str, effect: Effect) -> str:
    """What a temperature does to the answers about a part of the data, in a sentence."""
    row = effect.row()
    kind = "less sure than it was" if temperature > 1 else "surer than it was"
    kind = kind if f"{temperature:.3f}" != "1.000" else "as sure as it was"
    worse = "" if row["loss_after"] <= row["loss_before"] else ": no gain there"
    return (
        f"temperature {temperature:.3f}, fitted on validation (the network becomes {kind}); on {part}: calibration "
        f"error {row['calibration_error_before']:.4f} -> {row['calibration_error_after']:.4f}, "
        f"log loss {row['loss_before']:.4f} -> {row['loss_after']:.4f}{worse}"
    )


def gain_words(tta: str, part: str, effect: Effect) -> str:
    """What test-time augmentation gains and costs on a part of the data, in a sentence."""
    points = 100 * effect.pairs.improvement
    before, after = effect.milliseconds or (0.0, 0.0)
    loss = effect.after.scores()["loss"] - effect.before.scores()["loss"]
    return (
        f"tta={tta} on {part}: accuracy {points:+.2f} points (p = {effect.pairs.p_value():.2g}), log loss {loss:+.4f}; "
        f"{before:.2f} -> {after:.2f} ms an image"
    )


def advice(tta: str, validation: Effect) -> str:
    """Whether to use test-time augmentation, by the validation images alone."""
    better, p_value = validation.pairs.improvement > 0, validation.pairs.p_value()
    if better and p_value < SIGNIFICANT:
        return f"by the validation images, tta={tta} is worth it where its time does not matter"
    why = "its gain there may be luck" if better else "it gains nothing there"
    return f"by the validation images, leave tta={tta} out: {why}"
