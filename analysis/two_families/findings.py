"""Numbers and truth values."""

from analysis.two_families.study import findings

__all__ = ["findings"]
