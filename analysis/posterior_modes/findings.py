"""Numbers and truth values."""

from analysis.posterior_modes.study import findings

__all__ = ["findings"]
