"""Numbers and truth values."""

from analysis.initialisation.study import findings

__all__ = ["findings"]
