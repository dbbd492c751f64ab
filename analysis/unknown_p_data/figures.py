"""Figures, drawn from the results alone."""

from analysis.unknown_p_data.study import plot

__all__ = ["plot"]
