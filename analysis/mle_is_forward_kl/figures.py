"""Figures, drawn from the results alone."""

from analysis.mle_is_forward_kl.study import plot

__all__ = ["plot"]
