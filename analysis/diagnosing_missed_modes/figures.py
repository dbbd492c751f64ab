"""Figures, drawn from the results alone."""

from analysis.diagnosing_missed_modes.study import plot

__all__ = ["plot"]
