"""Figures, drawn from the results alone."""

from analysis.two_families.study import plot

__all__ = ["plot"]
