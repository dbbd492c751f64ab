"""Figures, drawn from the results alone."""

from analysis.alpha_bridge.study import plot

__all__ = ["plot"]
