"""Numbers and truth values."""

from analysis.kl_properties.study import findings

__all__ = ["findings"]
