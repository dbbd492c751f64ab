"""Numbers and truth values."""

from analysis.separation_sweep.study import findings

__all__ = ["findings"]
