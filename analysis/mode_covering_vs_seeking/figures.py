"""Figures, drawn from the results alone."""

from analysis.mode_covering_vs_seeking.study import plot

__all__ = ["plot"]
