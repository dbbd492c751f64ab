"""Figures, drawn from the results alone."""

from analysis.posterior_modes.study import plot

__all__ = ["plot"]
