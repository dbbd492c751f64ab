"""Your own PyMC model: every optimum that was met, its true width, and what was missed."""

from __future__ import annotations

from models.own_model.examine import examine

__all__ = ["examine"]
