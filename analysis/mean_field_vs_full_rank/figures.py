"""Figures, drawn from the results alone."""

from analysis.mean_field_vs_full_rank.study import plot

__all__ = ["plot"]
