"""What an estimator from draws does where the truth is known: bias, standard deviation and coverage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.quadrature import Estimate
from models.unknown.intervals import Interval

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Study:
    """How an estimator from draws behaves where the truth is known.

    Attributes
    ----------
    replications : int
    bias, bias_error : float
        Mean of estimate minus truth, and its standard error.
    sd : float
        Standard deviation of estimate minus truth.
    mean_error : float
        Root mean square of the standard errors that the estimator states; right if equal to `sd`.
    coverage : float
        Share of intervals that hold the truth; nan without intervals.
    coverage_reliable : float
        The same among those marked reliable.
    reliable : float
        Share marked reliable.
    length : float
        Mean length of the intervals.
    """

    replications: int
    bias: float
    bias_error: float
    sd: float
    mean_error: float
    coverage: float
    coverage_reliable: float
    reliable: float
    length: float


def coverage_study(
    draw: Callable[[int], Array],
    estimate: Callable[[Array], Estimate],
    truth: float | Callable[[Array], float],
    *,
    replications: int = 500,
    seed: int = 0,
) -> Study:
    """Estimate from `replications` samples, and compare with the truth, a number or a function of the sample."""
    if replications < 2:
        raise InputError(f"replications is {replications}; a standard deviation needs at least 2")
    found, errors = [], []
    for child in np.random.SeedSequence(seed).generate_state(replications):
        x = draw(int(child))
        found.append(estimate(x))
        errors.append(found[-1].value - (truth(x) if callable(truth) else truth))
    error = np.array(errors)
    sd = float(error.std(ddof=1))
    intervals = [e for e in found if isinstance(e, Interval)]
    held, trusted = np.full(1, np.nan), np.full(1, True)
    if len(intervals) == len(found):
        reach = np.array([(e.lower - e.value, e.upper - e.value) for e in intervals])
        held = ((reach[:, 0] <= -error) & (-error <= reach[:, 1])).astype(float)
        trusted = np.array([e.reliable for e in intervals])
    return Study(
        replications,
        float(error.mean()),
        sd / np.sqrt(replications),
        sd,
        float(np.sqrt(np.mean([e.error**2 for e in found]))),
        float(held.mean()),
        float(held[trusted].mean()) if trusted.any() else np.nan,
        float(trusted.mean()) if intervals else np.nan,
        float(np.mean([e.upper - e.lower for e in intervals])) if intervals else np.nan,
    )
