"""Figures from what training and evaluation return: matplotlib for looking, plotly for exploring; saves nothing.

Titles and names are shown as they are (`parse_math=False`): two dollar signs in a name would make it a formula.
"""

from imagelab.figures.confusion import draw_confusion, explore_confusion
from imagelab.figures.curves import draw_calibration, draw_curves, explore_curves
from imagelab.figures.galleries import draw_predictions, draw_samples

__all__ = [
    "draw_calibration",
    "draw_confusion",
    "draw_curves",
    "draw_predictions",
    "draw_samples",
    "explore_confusion",
    "explore_curves",
]
