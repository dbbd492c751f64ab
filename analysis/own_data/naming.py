"""Names of the groups of the results."""

from __future__ import annotations

__all__ = ["child_of"]


def child_of(family: str) -> str:
    """Name of a family's group in the results: ``forward_normal_mixture_2``."""
    return "forward_" + family.replace("(", "_").replace(")", "").replace("=", "_")
