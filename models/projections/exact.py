"""Divergences between a target and a member of a family as functions of theta: quadrature laid anew for every theta.

All directions are one integral over Lebesgue nodes x with weights h, target log densities L and the member's log q(x):

reverse   sum h q (log q - L)
alpha     sum h (q - p^a q^(1-a)) / (a (1 - a))                     (Minka, 2005, MSR-TR-2005-173, eq. 7, as int q = 1)
forward   sum h p (-log q)                                          the cross-entropy

Only log q is a graph, so one compiled function per family serves every target; of multivariate Normals it is a closed form. The
nodes depend on theta, but as numbers: differentiating under the integral needs no derivative of the rule. A family with a kink (Laplace) is the exception; its
nodes move with it, and the target enters by its first two derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.families import Family
from models.graphs import Deferred, compiled
from models.graphs.distributions import batched_logp
from models.projections import gaussian
from models.projections.gaussian import Form
from models.projections.objectives import Scalar, differentiate
from models.quadrature import CORE, gauss_legendre, kinked, panels
from models.targets import Target

pytensor = Deferred("pytensor")

__all__ = ["Exact", "check_density", "divergence_graph", "exact_objective"]

Array = NDArray[np.float64]

#: How far the members of a family reach, by their tails: offsets in units of the scale, beyond the core.
_TAILS: dict[str, NDArray[np.floating]] = {
    "gaussian": np.array([]),
    "exponential": np.array([13.0, 17.0, 22.0, 30.0, 42.0]),
    "power": 13.0 * 2.5 ** np.arange(72),  # E x^2 of a Student-t with nu = 2.5 fades only at 1e28
}
_REACH = 8.8  # standard deviations, beyond which a Normal has 1e-17 of its mass
#: Steps of tensor rules by level, in standard deviations of the narrowest structure; and the most nodes along an axis.
_STEPS = {2: (0.5, 0.35, 0.25, 0.18, 0.125, 0.09), 3: (0.8, 0.6, 0.45)}
_MOST = {2: 601, 3: 81}


@dataclass(frozen=True, eq=False)
class Exact:
    """A divergence up to a constant as a function of unconstrained theta.

    Attributes
    ----------
    family : Family
    target : Target
    alpha : float
        0 for reverse KL, 1 for forward KL (its cross-entropy), Minka's alpha between.
    level : int
        Fineness of the rule; 0 is for searching, 1 and above for results.
    """

    family: Family
    target: Target
    alpha: float
    level: int = 0

    @property
    def form(self) -> Form:
        """Which integral."""
        return "reverse" if self.alpha == 0 else "forward" if self.alpha == 1 else "alpha"

    def at(self, level: int) -> Exact:
        """Return the same divergence on a finer or coarser rule."""
        return replace(self, level=level)

    @property
    def finest(self) -> int:
        """The last level there is."""
        return 4 if self.target.dim == 1 else len(_STEPS[self.target.dim]) - 1

    def gradient(self, thetas: Array) -> tuple[Array, Array]:
        """Values (B,) in nats and gradients (B, P) at thetas (B, P)."""
        value, gradient = self._call(0, thetas)
        return value, gradient

    def hessian(self, thetas: Array) -> tuple[Array, Array, Array]:
        """Values (B,), gradients (B, P) and Hessians (B, P, P) at thetas (B, P)."""
        if not self.family.smooth and not self._moving:
            return self._differenced(thetas)
        value, gradient, hessian = self._call(1, thetas)
        return value, gradient, (hessian + hessian.transpose(0, 2, 1)) / 2

    @property
    def _moving(self) -> bool:
        """Whether nodes move with the member: right for a kink of the member, wrong for one of the target."""
        return not self.family.smooth and not kinked(self.target)

    def _differenced(self, thetas: Array) -> tuple[Array, Array, Array]:
        """Hessians as differences of gradients, where member and target both have kinks."""
        thetas = np.asarray(thetas, dtype=float)
        value, gradient = self.gradient(thetas)
        columns = []
        for unit in 1e-4 * np.eye(thetas.shape[1]):
            near, far = ([self.gradient(thetas + k * s * unit)[1] for s in (1, -1)] for k in (1, 2))
            columns.append((8 * (near[0] - near[1]) - (far[0] - far[1])) / 12e-4)
        hessian = np.stack(columns, axis=-1)
        return value, gradient, (hessian + hessian.transpose(0, 2, 1)) / 2

    def _call(self, which: int, thetas: Array) -> list[Array]:
        thetas = np.asarray(thetas, dtype=float)
        with np.errstate(all="ignore"):  # steps that overflow are refused by the caller's check for finite values
            if self.target.dim > 1:
                rows = [
                    gaussian.divergence(self.family, t, self._grid(t), self.form, self.alpha, hessian=which == 1)
                    for t in thetas
                ]
                return [np.array(part) for part in zip(*rows, strict=True)]
            functions = _graph(self.family, self.form, self._moving)
            x, h = self._line(thetas)
            values = self._target_values(thetas, x, h)
            if self.family.components == 1:
                return [np.asarray(v) for v in functions[which](thetas, *values, self.alpha)]
            rows = [functions[which](t[None], *(v[b] for v in values), self.alpha) for b, t in enumerate(thetas)]
            return [np.concatenate(part) for part in zip(*rows, strict=True)]

    # --- nodes -------------------------------------------------------------------------------------------------------

    def _line(self, thetas: Array) -> tuple[Array, Array]:
        """Nodes and Lebesgue weights (B, n): panels of the target and of each member, joined."""
        order, pieces = ((6, 1), (16, 1), (16, 2), (16, 4), (16, 8))[self.level]
        location, scale = self.family.location_scale(thetas)
        offsets = _offsets(self.family, self.alpha, self.level > 0)
        own = (location[:, :, None] + scale[:, :, None] * offsets).reshape(len(thetas), -1)
        fixed = panels(self.target)
        edges = np.concatenate([own, np.broadcast_to(fixed, (len(thetas), len(fixed)))], axis=1)
        if self.form != "forward":  # beyond the reach of the member nothing counts
            edges = np.clip(edges, own.min(axis=1, keepdims=True), own.max(axis=1, keepdims=True))
        edges = np.sort(edges, axis=1)
        if pieces > 1:
            steps = np.arange(pieces) / pieces
            inner = edges[:, :-1, None] + np.diff(edges, axis=1)[:, :, None] * steps
            edges = np.concatenate([inner.reshape(len(thetas), -1), edges[:, -1:]], axis=1)
        z, w = gauss_legendre(order)
        half = np.diff(edges, axis=1)[:, :, None] / 2
        x = (edges[:, 1:] + edges[:, :-1])[:, :, None] / 2 + half * z
        x, h = x.reshape(len(thetas), -1), (half * w).reshape(len(thetas), -1)
        if self.family.tail is not None:
            return x, h
        # Of other families the tails are not known: nodes where their density overflows or vanishes are not counted.
        logq = np.array([_logq(self.family)(t, row) for t, row in zip(thetas, x, strict=True)])
        counted = np.isfinite(logq) & (logq > -700)
        return np.where(counted, x, location[:, :1]), np.where(counted, h, 0.0)

    def _target_values(self, thetas: Array, x: Array, h: Array) -> list[Array]:
        if not self._moving:
            logp = self.target.logp(x.reshape(-1, 1)).reshape(x.shape)
            if self.form != "alpha":  # where nothing is counted, infinite logarithms must not be either
                h = np.where(np.isfinite(logp), h, 0.0)
            return [x, h, np.where(np.isfinite(logp), logp, -1e300 if self.form == "alpha" else 0.0)]
        location, scale = self.family.location_scale(thetas)
        z, hz = (x - location) / scale, h / scale
        logp, slope, curvature = (v.reshape(x.shape) for v in self.target.jet(x.reshape(-1, 1)))
        # Where the weight is zero, derivatives may be anything.
        counted = logp > -745 if self.form == "forward" else np.isfinite(logp)
        jet = [np.where(counted, logp, -1e300), np.where(counted, slope, 0.0), np.where(counted, curvature, 0.0)]
        return [z, hz, x, *jet]

    def _grid(self, theta: Array) -> tuple[Array, Array, Array]:
        """Tensor trapezoid nodes (n, d) around one member, Lebesgue weights, and log densities of the target."""
        dim = self.target.dim
        location, factor = self.family.location_cholesky(theta, dim)
        variances, axes = np.linalg.eigh(factor @ factor.T)
        reach = np.sqrt(np.abs(variances) / (1 - self.alpha))
        # Steps resolve the noise of the member, and the narrowest structure of the target, along each principal axis.
        step = np.minimum(0.5, _narrowest(self.target) * _STEPS[dim][self.level] / reach)
        counts = 2 * np.ceil(_REACH / np.maximum(step, 2 * _REACH / _MOST[dim])).astype(int) + 1
        z, cell = _tensor(tuple(int(n) for n in counts))
        x = location + (z * reach) @ axes.T
        h = np.full(len(x), cell * np.prod(reach))
        logp = self.target.logp(x)
        return x, np.where(np.isfinite(logp), h, 0.0), np.where(np.isfinite(logp), logp, 0.0)


def exact_objective(family: Family, target: Target, alpha: float) -> Exact:
    """Divergence of Minka's alpha from a target to a family, by quadrature (one to three dimensions).

    Parameters
    ----------
    family : Family
    target : Target
        With a density.
    alpha : float
        0 reverse KL, 1 the cross-entropy of forward KL, between them Minka's alpha.

    Returns
    -------
    Exact

    Raises
    ------
    InputError
        For draws only, differing dimensions, or more dimensions than a tensor rule can have.
    """
    check_density(target, family, alpha)
    if family.multivariate and family.components > 1:
        raise InputError(
            f"{family.name} is offered in the forward direction only; project onto mvnormal or mvnormal_diag"
        )
    if target.dim > 3:
        raise InputError(f"target {target.name!r} has {target.dim} dimensions; quadrature works in at most 3")
    return Exact(family, target, float(alpha))


def check_density(target: Target, family: Family, alpha: float) -> None:
    """Refuse a target that has no density, is of another dimension, or whose support misses a part of every member's.

    Raises
    ------
    InputError
    """
    target.check_density("reverse KL" if alpha == 0 else "this divergence")
    family.check_dim(target.dim, f"target {target.name!r}")
    if alpha < 1 and family.dim == 1 and not family.on_a_line:
        raise InputError(
            f"family {family.name!r} has no location to lay nodes around, so it is offered in the forward direction only; "
            "ask for the forward direction, or project onto a location-scale family"
        )
    if alpha == 0 and target.support is not None:
        raise InputError(
            f"target {target.name!r} has a bounded support, and every member of {family.name} puts mass outside it, so "
            "every reverse KL is infinite; ask for the forward direction, or transform the variable to the whole line"
        )


# --- graphs ----------------------------------------------------------------------------------------------------------


@cache
def _logq(family: Family) -> Any:
    def build() -> Any:
        theta = pytensor.tensor.vector("theta", shape=(family.size(1),))
        points, logq = batched_logp(family.density, family.constrain(theta, 1), multivariate=False)
        return [theta, points], logq

    return compiled("log density of a member", family, build)


@cache
def _graph(family: Family, form: Form, moving: bool) -> tuple[Any, Any]:
    def build() -> Scalar:
        return divergence_graph(family, form, moving)

    each = 6 if moving else 3  # all but alpha
    return differentiate(
        "divergence by quadrature", (family, form, moving), build, batched=family.components == 1, each=each
    )


def divergence_graph(family: Family, form: Form, moving: bool) -> Scalar:
    """Symbolic theta (P,), the divergence at it over given nodes, and what else it takes."""
    pt = pytensor.tensor
    theta = pt.vector("theta", shape=(family.size(1),))
    alpha = pt.scalar("alpha")
    params = family.constrain(theta, 1)
    weights, logp = pt.vector("h"), pt.vector("logp")
    points = pt.vector("x")
    if not moving:
        own = [points, weights, logp]
        x, h, target = points, weights, logp
    else:  # nodes move with the member, the target is its second-order expansion about where they are
        slope, curvature, z = pt.vector("slope"), pt.vector("curvature"), pt.vector("z")
        own = [z, weights, points, logp, slope, curvature]
        x = params[str(family.location)] + params[str(family.scale)] * z
        h = weights * params[str(family.scale)]
        target = logp + slope * (x - points) + curvature * (x - points) ** 2 / 2
    _, logq = batched_logp(family.density, params, multivariate=False, points=x)
    return theta, pt.sum(h * _integrand(form, logq, target, alpha)), [*own, alpha], own


def _integrand(form: Form, logq: Any, logp: Any, alpha: Any) -> Any:
    pt = pytensor.tensor
    if form == "reverse":
        return pt.exp(logq) * (logq - logp)
    if form == "forward":
        return -pt.exp(logp) * logq
    overlap = pt.exp(alpha * logp + (1 - alpha) * logq)
    # Nodes surround the member, so a p and a q are left as their integrals, a and 1: constants.
    return (pt.exp(logq) - overlap) / (alpha * (1 - alpha))


# --- rules -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _tensor(counts: tuple[int, ...]) -> tuple[Array, float]:
    """Trapezoid nodes (n, d) in the ball of radius `_REACH`, and the volume of one cell."""
    axes = [np.linspace(-_REACH, _REACH, n) for n in counts]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(counts))
    cell = np.prod([2 * _REACH / (n - 1) for n in counts])
    return grid[(grid**2).sum(axis=1) <= _REACH**2 * (1 + 1e-12)], float(cell)


def _narrowest(target: Target) -> float:
    return min(float(np.linalg.svd(s, compute_uv=False)[-1]) for _, s in target.scales)


@lru_cache(maxsize=64)
def _offsets(family: Family, alpha: float, fine: bool) -> Array:
    tail = family.tail or "power"
    offsets = np.concatenate([CORE, _TAILS[tail] if fine else _TAILS[tail][::3]])
    if 0 < alpha < 1:  # q^(1-alpha) reaches further than q
        wider = {"gaussian": (1 - alpha) ** -0.5, "exponential": 1 / (1 - alpha), "power": 1.0}[tail]
        far = offsets[-1] * wider
        offsets = np.concatenate([offsets, np.geomspace(offsets[-1], far, 2 + int(3 * np.log(wider)))[1:]])
    return np.concatenate([-offsets[:0:-1], offsets])
