"""What the report claims, computed again from definitions with NumPy and SciPy: nothing here is of this project.

An expectation under a Normal is a sum over equal steps of its base noise, one under a target a sum over equal steps of the
line: for smooth densities both converge faster than any power of the step. Optima are roots of a gradient that is written
down by hand, and folds and exchange points roots of systems with one more unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad
from scipy.optimize import brentq, minimize, root
from scipy.special import logsumexp
from scipy.stats import laplace, logistic, norm, t

Array = NDArray[np.float64]
#: Of points (n,): log density, score and its derivative, (n,) each.
Density = Callable[[Array], tuple[Array, Array, Array]]
Point = tuple[float, float]

Z, DZ = np.linspace(-9, 9, 1201, retstep=True)
WZ = norm.pdf(Z) * DZ
X, DX = np.linspace(-60, 60, 24001, retstep=True)
#: Simpson's weights on X, for densities with a kink at 0, which is an end of two panels.
SIMPSON = DX / 3 * np.array([1, *[4, 2] * 11999, 4, 1])


def mixture(weights: Sequence[float], means: Sequence[float], sds: Sequence[float]) -> Density:
    w, m, s = (np.asarray(a, dtype=float)[:, None] for a in (weights, means, sds))

    def density(x: Array) -> tuple[Array, Array, Array]:
        parts = np.log(w) + norm.logpdf(x, m, s)
        log_p = logsumexp(parts, axis=0)
        share, slope = np.exp(parts - log_p), (m - x) / s**2
        score = (share * slope).sum(axis=0)
        return log_p, score, (share * (slope**2 - s**-2)).sum(axis=0) - score**2

    return density


def pair(a: float, w: float = 0.5) -> Density:
    """w N(-a, 1) + (1 - w) N(a, 1)."""
    return mixture([w, 1 - w], [-a, a], [1, 1])


TWO = pair(3)
MATCHED = norm.logpdf(X, 0, np.sqrt(10))  # of the mean and the variance of TWO, 1 + 3²
ONE_MODE = norm.logpdf(X, 3, 1)


def kl(log_p: Array, log_q: Array, weights: ArrayLike = DX) -> float:
    """KL(p||q) between log densities on X."""
    return float((weights * np.exp(log_p)) @ (log_p - log_q))


def forward(p: Density) -> float:
    """Forward KL of the Normal with the moments of p."""
    log_p = p(X)[0]
    mass = np.exp(log_p) * DX
    mean = mass @ X
    return kl(log_p, norm.logpdf(X, mean, np.sqrt(mass @ (X - mean) ** 2)))


# --- reverse KL of N(m, s²): value, gradient and Hessian under the integral sign -----------------------------------------


def reverse(p: Density, m: float, s: float) -> tuple[float, Array, Array]:
    log_p, score, curve = p(m + s * Z)
    value = -0.5 - np.log(s * np.sqrt(2 * np.pi)) - WZ @ log_p
    cross = -WZ @ (curve * Z)
    hessian = np.array([[-WZ @ curve, cross], [cross, 1 / s**2 - WZ @ (curve * Z**2)]])
    return float(value), np.array([-WZ @ score, -1 / s - WZ @ (score * Z)]), hessian


def solved(system: Callable[[Array], ArrayLike], guess: Sequence[float], **options: Any) -> Array:
    found = root(system, guess, tol=1e-11, **options)
    assert np.abs(found.fun).max() < 1e-8, (guess, found.message)
    return np.asarray(found.x)


def minimum(p: Density, m: float, s: float) -> tuple[float, float, float]:
    """Mean, sd and reverse KL of the minimum near a guess: positive curvature is asked for."""
    m, s = solved(lambda y: reverse(p, *y)[1], [m, s], jac=lambda y: reverse(p, *y)[2])
    value, _, hessian = reverse(p, m, s)
    assert np.linalg.eigvalsh(hessian).min() > 0
    return float(m), float(s), value


def fold(w: float, a: float, m: float, s: float) -> float:
    """Separation at which a minimum and a saddle meet: the gradient and the determinant of the Hessian vanish."""

    def system(y: Array) -> ArrayLike:
        _, gradient, hessian = reverse(pair(y[0], w), y[1], y[2])
        return [*gradient, np.linalg.det(hessian)]

    return float(solved(system, [a, m, s])[0])


def exchange(w: float, a: float, first: Point, second: Point) -> float:
    """Separation at which two minima are equally good."""

    def system(y: Array) -> ArrayLike:
        p = pair(y[0], w)
        one, other = reverse(p, y[1], y[2]), reverse(p, y[3], y[4])
        return [*one[1], *other[1], one[0] - other[0]]

    return float(solved(system, [a, *first, *second])[0])


def minimum_by_values(log_p: Callable[[Array], Array], m: float, s: float) -> tuple[float, float, float]:
    """Mean, sd and reverse KL of a minimum near a guess, for a density without a score at hand."""

    def value(y: Array) -> float:
        return float(-0.5 - y[1] - np.log(2 * np.pi) / 2 - WZ @ log_p(y[0] + np.exp(y[1]) * Z))

    found = minimize(value, [m, np.log(s)], method="BFGS", options={"gtol": 1e-7})
    return float(found.x[0]), float(np.exp(found.x[1])), float(found.fun)


def heavy(x: Array) -> Array:
    """½ t₄(-4, 1) + ½ t₄(4, 1), its log density."""
    return np.asarray(np.logaddexp(t.logpdf(x, 4, -4), t.logpdf(x, 4, 4)) - np.log(2))


# --- Minka's alpha: a stationary Normal has mean and sd of the density proportional to p^alpha q^(1 - alpha) -------------

_A, _DA = np.linspace(-25, 25, 1251, retstep=True)


def tilted(log_p: Array, alpha: float, m: float, s: float) -> tuple[Array, float]:
    """What is left to move in mean and sd, and the divergence."""
    mass = np.exp(alpha * log_p + (1 - alpha) * norm.logpdf(_A, m, s)) * _DA
    total = mass.sum()
    mean = mass @ _A / total
    sd = np.sqrt(mass @ (_A - mean) ** 2 / total)
    return np.array([mean - m, sd - s]), float((1 - total) / (alpha * (1 - alpha)))


def alpha_exchange(w: float, alpha: float, first: Point, second: Point) -> float:
    log_p = pair(3, w)(_A)[0]

    def system(y: Array) -> ArrayLike:
        one, other = tilted(log_p, y[0], y[1], y[2]), tilted(log_p, y[0], y[3], y[4])
        return [*one[0], *other[0], one[1] - other[1]]

    return float(solved(system, [alpha, *first, *second])[0])


def alpha_fold(w: float, alpha: float, m: float, s: float) -> float:
    log_p, step = pair(3, w)(_A)[0], 1e-5

    def system(y: Array) -> ArrayLike:
        moves = [
            (tilted(log_p, y[0], *(y[1:] + e))[0] - tilted(log_p, y[0], *(y[1:] - e))[0]) / (2 * step)
            for e in step * np.eye(2)
        ]
        return [*tilted(log_p, *y)[0], np.linalg.det(moves)]

    return float(root(system, [alpha, m, s], tol=1e-9).x[0])


# --- mean field ----------------------------------------------------------------------------------------------------------


def mean_field_pair(rho: float, alpha: float) -> float:
    """Variance of a factorised Normal closest to a unit pair: fixed point of v = 1 / precision of p^alpha q^(1 - alpha)'s margin."""
    precision = np.linalg.inv([[1, rho], [rho, 1]])

    def excess(v: float) -> float:
        return float(np.linalg.inv(alpha * precision + (1 - alpha) * np.eye(2) / v)[0, 0] - v)

    return float(brentq(excess, 1e-3, 1 - 1e-12))


def chain() -> tuple[float, float, float]:
    """Ten unit Normals, neighbours correlated by 0.8: variance in the middle that reverse KL keeps, and least KL, reverse and forward."""
    cov = 0.8 ** np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
    narrow, log_det = np.diag(np.linalg.inv(cov)), np.linalg.slogdet(cov)[1]
    return float(1 / narrow[5]), float(np.log(narrow).sum() + log_det) / 2, float(-log_det) / 2


def pitchfork(d: int) -> float:
    """Distance of two modes on the diagonal at which 1 - a² E sech²(a s z) vanishes, where s² = d / (d - 1)."""
    s = np.sqrt(d / (d - 1))
    return float(brentq(lambda a: a**2 * (WZ @ np.cosh(a * s * Z) ** -2) - 1, 1, 4))


# --- a Cauchy's location, given two pairs of observations -----------------------------------------------------------------

_Y = np.array([-10.9, -9.1, 9.5, 10.5])


def joint(mu: Array) -> Array:
    return np.asarray(norm.logpdf(mu, 0, 10) - np.log1p((_Y[:, None] - mu) ** 2).sum(axis=0) - 4 * np.log(np.pi))


@cache
def location() -> dict[str, float]:
    mu = X[np.abs(X) < 59.9]
    mass = np.exp(joint(mu)) * DX
    total = mass.sum()
    mean = mass @ mu / total
    return {
        "log_z": float(np.log(total)),
        "mean": float(mean),
        "sd": float(np.sqrt(mass @ (mu - mean) ** 2 / total)),
        "above": float((mass[mu > 1e-9].sum() + mass[np.abs(mu) < 1e-9].sum() / 2) / total),
    }


def location_minima() -> tuple[float, ...]:
    log_z = location()["log_z"]
    guesses = ((9.8, 0.9), (-9.6, 1.1), (0.1, 7.4))
    return tuple(minimum_by_values(lambda mu: joint(mu) - log_z, *guess)[2] for guess in guesses)


# --- where PyMC's adagrad_window comes to rest ----------------------------------------------------------------------------


def at_rest(m: float, s: float, window: int = 10, epsilon: float = 0.1) -> tuple[float, float, float]:
    """Sd at which the mean of g / sqrt(g² + S + epsilon) is 0, S over nine other draws, what it costs in nats, and the mean.

    By 1/√a = 2/√π ∫ exp(-v² a) dv the draws part. Gradients are those by the mean and by rho, where sd = log(1 + e^rho).
    """
    log_v, step = np.linspace(-26, 5, 217, retstep=True)
    v = np.exp(log_v)

    def mean_step(g: Array) -> float:
        damped = np.exp(-np.multiply.outer(v**2, g**2))
        return float(v * np.exp(-(v**2) * epsilon) @ ((damped @ (WZ * g)) * (damped @ WZ) ** (window - 1))) * step

    def system(y: Array) -> ArrayLike:
        score = TWO(y[0] + y[1] * Z)[1]
        return [mean_step(-score), mean_step(-np.expm1(-y[1]) * (-score * Z - 1 / y[1]))]

    rest = solved(system, [m, s])
    return float(rest[1]), reverse(TWO, *rest)[0] - minimum(TWO, m, s)[2], float(rest[0])


def steps(m: float, s: float, n: int, window: int = 10, epsilon: float = 0.1) -> tuple[Array, Array]:
    """Mean of n normalised steps by mean and by rho, and its standard error: by draws, without the integral above."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((window, n))
    score = TWO((m + s * z).ravel())[1].reshape(z.shape)
    gradients = np.stack([-score, -np.expm1(-s) * (-score * z - 1 / s)])
    found = gradients[:, 0] / np.sqrt((gradients**2).sum(axis=1) + epsilon)
    return found.mean(axis=1), found.std(axis=1) / np.sqrt(n)


# --- Normal and Laplace beside two targets --------------------------------------------------------------------------------


@cache
def families(target: str) -> dict[str, float]:
    """Projections by moments: the Normal has the variance, the Laplace the mean distance from 0."""
    if target == "logistic":
        log_p = logistic.logpdf(X, 0, np.sqrt(3) / np.pi)
    else:
        log_p = mixture([0.85, 0.15], [0, 0], [0.7, 2])(X)[0]
    mass = np.exp(log_p) * SIMPSON
    variance = mass @ X**2
    f, g = norm.logpdf(X, 0, np.sqrt(variance)), laplace.logpdf(X, 0, mass @ np.abs(X))
    mean = mass @ (f - g)
    sd = np.sqrt(mass @ (f - g - mean) ** 2)
    middle = [np.logaddexp(log_p, q) - np.log(2) for q in (f, g)]
    metric = [
        np.sqrt(2 * (kl(log_p, h, SIMPSON) + kl(q, h, SIMPSON))) for q, h in zip((f, g), middle, strict=True)
    ]  # 2 sqrt(JS)
    return {
        "normal": kl(log_p, f, SIMPSON),
        "laplace": kl(log_p, g, SIMPSON),
        "trace": float(1 + (mass @ X**4 / variance**2 - 1) / 2),  # 1 for the mean, (kurtosis - 1)/2 for the sd
        "distance_normal": float(metric[0]),
        "distance_laplace": float(metric[1]),
        "sd": float(sd),
        "size": float((norm.ppf(0.95) * sd / mean) ** 2),
    }


# --- pairs with heavy tails, and standard errors --------------------------------------------------------------------------


def kl_quad(log_p: Callable[[float], float], log_q: Callable[[float], float], at: Sequence[float] = (0.0,)) -> float:
    """KL on the line as x = sinh u, where power laws fall exponentially."""

    def integrand(u: float) -> float:
        x = np.sinh(u)
        density = np.exp(log_p(x))
        return float(density * (log_p(x) - log_q(x)) * np.cosh(u)) if density > 0 else 0.0

    return float(quad(integrand, -30, 30, points=sorted(np.arcsinh(at)), limit=800, epsabs=1e-12)[0])


def kurtosis_of_two() -> float:
    """(3 + 6a² + a⁴) / (1 + a²)² at a = 3, here by quadrature."""
    mass = np.exp(TWO(X)[0]) * DX
    return float(mass @ X**4 / (mass @ X**2) ** 2)


# --- weights of overlapping fits ------------------------------------------------------------------------------------------


@cache
def overlap(a: float) -> dict[str, float]:
    """All three minima of ½ N(±a, 1) mixed, by the softmax of their ELBOs and by the weights of least reverse KL."""
    p = pair(a)
    broad, mode = minimum(p, 0, a - 0.3), minimum(p, a, 1.02)
    log_p = p(X)[0]
    logs = np.array([norm.logpdf(X, *mode[:2]), norm.logpdf(X, *broad[:2]), norm.logpdf(X, -mode[0], mode[1])])

    def divergence(weights: Array) -> float:
        return kl(logsumexp(logs, b=weights[:, None], axis=0), log_p)

    soft = np.exp(-np.array([mode[2], broad[2], mode[2]]))
    soft /= soft.sum()
    # Convex in the weights, and symmetric: one unknown, the weight of the broad fit; the slope at 0 tells whether 0 is best.
    slope = (divergence(np.array([0.5 - 1e-5, 2e-5, 0.5 - 1e-5])) - divergence(np.array([0.5, 0, 0.5]))) / 2e-5
    return {
        "softmax_weight": float(soft[1]),
        "softmax": divergence(soft),
        "best": divergence(np.array([0.5, 0, 0.5])),
        "slope": slope,
    }
