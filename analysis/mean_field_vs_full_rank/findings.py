"""Numbers and truth values."""

from analysis.mean_field_vs_full_rank.study import findings

__all__ = ["findings"]
