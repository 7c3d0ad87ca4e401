"""Figures from what training and evaluation return: matplotlib for looking, plotly for exploring; saves nothing."""

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
