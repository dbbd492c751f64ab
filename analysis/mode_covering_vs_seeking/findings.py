"""Numbers and truth values."""

from analysis.mode_covering_vs_seeking.study import findings

__all__ = ["findings"]
