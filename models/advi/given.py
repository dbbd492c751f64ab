"""What a fit is given: a target, or a PyMC model that stands for its posterior."""

from __future__ import annotations

import warnings
from typing import Any

from models.targets import Posterior, Target, from_model

__all__ = ["as_target", "batched"]


def as_target(target_or_model: Target | Any, what: str) -> Target:
    """Return a target with a density, which `what` needs; without a model, the one of the surrounding ``with``.

    Warns
    -----
    UserWarning
        If a model takes minibatches, in whose place its whole data are put.

    Raises
    ------
    InputError
        If the target has no density.
    """
    if isinstance(target_or_model, Target):
        target = target_or_model
    else:
        import pymc as pm

        target = from_model(pm.modelcontext(target_or_model))
        if target.batched:
            warnings.warn("the model takes minibatches (pm.Minibatch); it is fitted to its whole data", stacklevel=4)
    target.check_density(what)
    return target


def batched(target: Target) -> int:
    """Whether the whole data stand in place of minibatches, as an attribute of a tree."""
    return int(isinstance(target, Posterior) and target.batched)
