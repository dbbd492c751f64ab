"""Figures, drawn from the results alone."""

from analysis.separation_sweep.study import explorer, plot

__all__ = ["explorer", "plot"]
