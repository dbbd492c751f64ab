"""What an estimator from draws does where the truth is known: bias, standard deviation and coverage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.quadrature import Estimate
from models.unknown.intervals import Interval

__all__ = ["Study", "coverage_study"]

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
    """Bias, standard deviation and coverage of an estimator from draws, over independent samples.

    Parameters
    ----------
    draw : callable, seed -> (n, d)
        For instance ``lambda seed: target.rvs(1000, seed)``.
    estimate : callable (n, d) -> Estimate
        With `Interval`, coverage is counted.
    truth : float or callable (n, d) -> float
        A callable where the truth depends on the sample: the KL of the member fitted to it.
    replications : int
    seed : int

    Returns
    -------
    Study

    Raises
    ------
    InputError
        For fewer than 2 replications.

    Examples
    --------
    >>> from models.targets import normal_mixture
    >>> from models.unknown import entropy_from_draws
    >>> p = normal_mixture([1], [0], [1])
    >>> study = coverage_study(lambda seed: p.rvs(100, seed), entropy_from_draws, 1.418939, replications=40)
    >>> study.coverage > 0.8, study.reliable > 0.8
    (True, True)
    """
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
