"""Figures, drawn from the results alone."""

from analysis.advi_accuracy.study import plot

__all__ = ["plot"]
