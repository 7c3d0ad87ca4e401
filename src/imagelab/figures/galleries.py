"""Pictures of the images themselves."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

COLUMNS = 8


def draw_samples(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], title: str) -> Figure:
    """One image of each class, the first there is, under its name (at most 100 classes)."""
    classes, first = np.unique(labels, return_index=True)
    captions = [class_names[label] for label in classes[:100]]
    return draw_grid(images[first[:100]], captions, ["black"] * len(captions), title, 10)


def draw_training_batch(images: np.ndarray, targets: np.ndarray, class_names: Sequence[str], title: str) -> Figure:
    """Images as the network learns from them, under their labels and, where those are mixed, the share of each.

    Args:
        images: uint8 or float32, 0 to 255 (n, height, width, channels).
        targets: float32 (n, num_classes).
    """
    captions = []
    for target in targets:
        most = np.argsort(-target, kind="stable")[: 2 if target.max() < 0.995 else 1]
        shares = [f" {target[label]:.0%}" if len(most) > 1 else "" for label in most]
        captions.append("\n".join(f"{class_names[label]}{share}" for label, share in zip(most, shares, strict=True)))
    return draw_grid(images.round().astype(np.uint8), captions, ["black"] * len(captions), title, COLUMNS)


def draw_predictions(
    images: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Images with what they were taken for, how surely, and, where that is wrong, the truth; in the order given."""
    captions, colors = [], []
    for label, guess, probability in zip(labels, predicted, confidence, strict=True):
        right = label == guess
        truth = "" if right else f"\ntruly {class_names[label]}"
        captions.append(f"{class_names[guess]} {probability:.1%}{truth}")
        colors.append("#2a7a2a" if right else "#b02020")
    return draw_grid(images, captions, colors, title, COLUMNS)


def draw_label_errors(images: np.ndarray, errors: pd.DataFrame, title: str) -> Figure:
    """Images under the label that they have, and what they were taken for, how surely.

    Args:
        errors: columns label, predicted (names of classes), confidence; a row an image.
    """
    rows = errors.itertuples(index=False)
    captions = [f"labelled {row.label}\n{row.predicted} {row.confidence:.1%}" for row in rows]
    return draw_grid(images, captions, ["black"] * len(captions), title, COLUMNS)


def draw_copies(pairs: Sequence[np.ndarray], copies: pd.DataFrame, title: str) -> Figure:
    """Two images side by side, with their labels where these differ.

    Args:
        pairs: both images, the copy first, each pair uint8 (height, 2 * width, channels).
        copies: columns split, index, training_index, label, training_label, same_label, similarity; a row a pair.
    """
    captions, colors = [], []
    for row in copies.itertuples(index=False):
        labels = row.label if row.same_label else f"{row.label} / {row.training_label}"
        captions.append(f"{row.split} {row.index}, train {row.training_index}\n{labels!s} {row.similarity:.4f}")
        colors.append("black" if row.same_label else "#b02020")
    return draw_grid(pairs, captions, colors, title, COLUMNS // 2)


def draw_grid(
    images: Sequence[np.ndarray] | np.ndarray, captions: list[str], colors: list[str], title: str, columns: int
) -> Figure:
    rows = max(1, -(-len(images) // columns))
    wide = images[0].shape[1] / images[0].shape[0] if len(images) else 1
    width = 1.55 * max(1, wide)
    figure = Figure(figsize=(width * columns, 1.95 * rows + 0.6), layout="constrained")
    figure.suptitle(title, parse_math=False)
    for index, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if index < len(images):
            image = images[index]
            axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
            axes.set_title(captions[index].replace("_", " "), fontsize=8, color=colors[index], y=1, parse_math=False)
    return figure
