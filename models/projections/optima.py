"""What a projection is: a stationary point of a divergence over a family, described, classified and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.divergences import cross_entropy, entropy
from models.families import FAMILIES, Family
from models.projections.objectives import natural_values
from models.quadrature import Estimate
from models.targets import Draws, Target

__all__ = [
    "Certificate",
    "Direction",
    "Projection",
    "Status",
    "describe",
    "forward_divergence",
    "minima",
    "natural_point",
    "ordered",
    "ranked",
    "sign",
    "sort_components",
    "status_of",
]

Array = NDArray[np.float64]
Status = Literal["global minimum", "local minimum", "saddle", "maximum", "degenerate"]
Certificate = Literal["consistent", "open"]
Direction = Literal["forward", "reverse", "alpha"]


@dataclass(frozen=True, eq=False)
class Projection:
    """A stationary point of a divergence over a family.

    Attributes
    ----------
    params : dict of str to ndarray
        On the natural scale; infinite where the point is a limit.
    divergence : Estimate
        In nats; ``nan`` for the forward direction from draws, where the entropy of p_data is unknown. Up to the log
        evidence for an unnormalised target.
    status : str
        ``global minimum`` means the lowest of those found.
    gradient_norm : float
        Euclidean norm of the gradient, in the coordinates of `hessian_eigenvalues`.
    hessian_eigenvalues : ndarray (P,)
        Ascending. In natural parameters where these are free coordinates (normal, student_t, mvnormal_diag, ...), else in
        unconstrained ones (log-Cholesky of a covariance, logits of weights).
    family : Family
    theta : ndarray (P,)
        Unconstrained coordinates; of the limiting family where the point is a limit.
    direction : str
    certificate : str
        ``consistent`` if the signs of the Hessians of all points found sum to the index that the behaviour at infinity
        prescribes; ``open`` if not, or where nothing prescribes one.
    cross_entropy : Estimate, optional
        Of the forward direction.
    alpha : float, optional
        Of the alpha direction.
    limit : str, optional
        ``nu -> infinity`` if the point lies in the limit of a parameter: no member is reached, the limit is.
    """

    params: dict[str, Array]
    divergence: Estimate
    status: Status
    gradient_norm: float
    hessian_eigenvalues: Array
    family: Family
    theta: Array
    direction: Direction
    certificate: Certificate
    cross_entropy: Estimate | None = None
    alpha: float | None = None
    limit: str | None = None

    @property
    def member(self) -> Target:
        """The member of the family at this point, or its limit, as a target."""
        if self.limit is None:
            return self.family.member(self.params)
        return FAMILIES["normal"].member({name: self.params[name] for name in ("mu", "sigma")})


def minima(projections: Sequence[Projection]) -> list[Projection]:
    """Return the local and global minima, lowest divergence first."""
    return [p for p in projections if p.status in ("global minimum", "local minimum")]


def describe(
    target: Target, family: Family, alpha: float, results: Sequence[tuple[Array, Array, Array, Estimate]]
) -> list[Projection]:
    """Projections, not yet ranked, from points with gradient, Hessian and divergence of each."""
    direction: Direction = "reverse" if alpha == 0 else "forward" if alpha == 1 else "alpha"
    found = []
    for theta, gradient, hessian, divergence in results:
        params, gradient_norm, eigenvalues = natural_point(family, theta, gradient, hessian)
        ce = None
        if alpha == 1:
            ce, divergence = forward_divergence(target, family.member(params))
        found.append(
            Projection(params, divergence, status_of(eigenvalues), gradient_norm, eigenvalues, family, theta, direction,
                       "open", ce, alpha if direction == "alpha" else None)
        )  # fmt: skip
    return found


def forward_divergence(target: Target, member: Target) -> tuple[Estimate, Estimate]:
    """Cross-entropy and forward KL of a member; the latter is ``nan`` for draws."""
    ce = cross_entropy(target, member)
    if isinstance(target, Draws):
        return ce, Estimate(float("nan"), float("nan"), "draws")
    h = entropy(target)
    return ce, Estimate(ce.value - h.value, ce.error + h.error, "quadrature")


def ranked(found: Sequence[Projection]) -> list[Projection]:
    """Lowest first; the lowest minima are called global."""
    ordered = sorted(found, key=lambda p: p.divergence.value)
    lowest = next((p.divergence for p in ordered if p.status == "local minimum"), None)
    if lowest is None:
        return ordered
    bound = lowest.value + 1e-10 + lowest.error
    return [
        replace(p, status="global minimum") if p.status == "local minimum" and p.divergence.value <= bound else p
        for p in ordered
    ]


def status_of(eigenvalues: Array) -> Status:
    """What the eigenvalues of the Hessian make of a stationary point."""
    if np.min(np.abs(eigenvalues)) < 1e-9:
        return "degenerate"
    negative = int((eigenvalues < 0).sum())
    if negative == 0:
        return "local minimum"
    return "maximum" if negative == len(eigenvalues) else "saddle"


def sign(point: Projection) -> int:
    """Sign of the determinant of the Hessian."""
    return int(np.prod(np.sign(point.hessian_eigenvalues)))


def natural_point(
    family: Family, theta: Array, gradient: Array, hessian: Array
) -> tuple[dict[str, Array], float, Array]:
    """Parameters, gradient norm and Hessian eigenvalues, in natural coordinates where these are free."""
    values, jacobians = natural_values(family, theta)
    g, h = gradient, hessian
    if all(p.support in ("real", "positive") for p in family.parameters):
        jacobian = np.concatenate([jacobians[p.name].reshape(-1, len(theta)) for p in family.parameters])
        inverse = np.linalg.inv(jacobian)
        g, h = inverse.T @ g, inverse.T @ h @ inverse
    return values, float(np.linalg.norm(g)), np.linalg.eigvalsh(h)


def ordered(family: Family, theta: Array) -> Array:
    """The same mixture with its components in the order of their means."""
    if family.components == 1:
        return theta
    values, _ = natural_values(family, theta)
    return family.unconstrain(sort_components(family, values), values["mu"].shape[-1] if family.multivariate else 1)


def sort_components(family: Family, params: dict[str, Array]) -> dict[str, Array]:
    """The same mixture with its components in the order of their means."""
    if family.components == 1:
        return params
    order = np.argsort(params["mu"] if params["mu"].ndim == 1 else params["mu"][:, 0])
    return {name: value[order] for name, value in params.items()}
