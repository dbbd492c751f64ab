"""Numbers and truth values."""

from analysis.alpha_bridge.study import findings

__all__ = ["findings"]
