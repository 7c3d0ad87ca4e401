"""Whether a challenger may become champion: scores in, verdict out; knows no MLflow.

MLflow's `validate_evaluation_results` is not used: its smallest change must be above 0, so it cannot ask for "not
worse"; it has no paired test, so a loss of three images in five thousand and one of three hundred are the same to it;
and it takes results of `mlflow.models.evaluate`, which reads no images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from imagelab.evaluation.significance import PairedOutcomes


@dataclass(frozen=True)
class Bounds:
    """What is asked of a challenger; None: not asked.

    Attributes:
        min_improvement: accuracy above the champion's, a share.
        significance: the probability of chance below which a worse challenger counts as worse.
    """

    min_improvement: float
    significance: float
    min_accuracy: float | None = None
    max_latency_ms: float | None = None
    max_size_mb: float | None = None


@dataclass(frozen=True)
class Scores:
    """What a version has shown on the images that are compared by."""

    accuracy: float
    latency_ms: float
    size_mb: float
    log_loss: float | None = None
    top_5_accuracy: float | None = None


def objections(bounds: Bounds, challenger: Scores, pairs: PairedOutcomes | None) -> list[str]:
    """Why the challenger may not become champion; empty: it may.

    Args:
        pairs: the champion first, the challenger second; None where there is no champion.
    """
    return [*of_itself(bounds, challenger), *(of_both(bounds, pairs) if pairs else ())]


def of_itself(bounds: Bounds, scores: Scores) -> Iterator[str]:
    if bounds.min_accuracy is not None and scores.accuracy < bounds.min_accuracy:
        yield f"accuracy {scores.accuracy:.2%} is below min_accuracy={bounds.min_accuracy:g}"
    if bounds.max_latency_ms is not None and scores.latency_ms > bounds.max_latency_ms:
        yield f"{scores.latency_ms:.3g} ms an image are more than max_latency_ms={bounds.max_latency_ms:g}"
    if bounds.max_size_mb is not None and scores.size_mb > bounds.max_size_mb:
        yield f"{scores.size_mb:.3g} MB are more than max_size_mb={bounds.max_size_mb:g}"


def of_both(bounds: Bounds, pairs: PairedOutcomes) -> Iterator[str]:
    if pairs.improvement < bounds.min_improvement - 1e-12:
        yield f"accuracy is {pairs.improvement:+.2%} beside the champion's, min_improvement={bounds.min_improvement:g}"
    p_value = pairs.p_value("second is worse")
    if pairs.improvement < 0 and p_value < bounds.significance:
        yield (
            f"it is significantly worse: alone wrong on {pairs.only_first} images, alone right on "
            f"{pairs.only_second} (McNemar, p = {p_value:.2g} < significance={bounds.significance:g})"
        )
