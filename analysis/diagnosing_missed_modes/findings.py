"""Numbers and truth values."""

from analysis.diagnosing_missed_modes.study import findings

__all__ = ["findings"]
