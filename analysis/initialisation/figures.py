"""Figures, drawn from the results alone."""

from analysis.initialisation.study import plot

__all__ = ["plot"]
