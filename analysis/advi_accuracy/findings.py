"""Numbers and truth values."""

from analysis.advi_accuracy.study import findings

__all__ = ["findings"]
