"""Figures, drawn from the results alone."""

from analysis.kl_properties.study import plot

__all__ = ["plot"]
