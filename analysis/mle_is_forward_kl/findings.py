"""Numbers and truth values."""

from analysis.mle_is_forward_kl.study import findings

__all__ = ["findings"]
