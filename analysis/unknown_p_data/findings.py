"""Numbers and truth values."""

from analysis.unknown_p_data.study import findings

__all__ = ["findings"]
