"""Local fits of one target, found from several starts, and the mixtures that put them together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.gaussians import nearest
from models.advi import METHODS, Schedule, combine, fit_advi, optima
from models.advi.diagnostics import covered_mass
from models.divergences import kl
from models.families import FAMILIES
from models.projections import forward_projection, minima, reverse_projections
from models.quadrature import Estimate
from models.results import draws_of, member_of
from models.targets import TARGETS, Target, mvnormal_mixture, normal_mixture

Array = NDArray[np.float64]
#: Weight of the mode at 0; the other one lies at the distance.
HEAVY = 0.7
#: Mass of the fit in the region that counts as covered.
LEVEL = 0.999
#: Draws of the target by which the covered mass is estimated.
REFERENCE = 4000


@dataclass(frozen=True)
class Repair:
    """A target whose modes are found from several starts and put together."""

    name: str
    title: str
    target: Target
    method: Literal["advi", "fullrank_advi"] = "advi"

    @property
    def family(self) -> str:
        """The family that the method fits."""
        return "normal" if self.target.dim == 1 else METHODS[self.method]


def two_modes(distance: float) -> Target:
    """Return .7 N(0, 1) + .3 N(distance, 1)."""
    return normal_mixture([HEAVY, 1 - HEAVY], [0, distance], [1, 1], name=f"two modes, {distance:g} apart")


EQUAL = normal_mixture([0.5, 0.5], [-4, 4], [1, 1], name="equal")
REPAIRS = (
    Repair("equal", "½ N(±4, 1)", EQUAL),
    Repair("unequal", "0.7 N(0, 1) + 0.3 N(8, 1)", two_modes(8)),
    Repair("trimodal", "three equal modes, spacing 6", TARGETS["trimodal"]),
    Repair("crossed", "crossed, full rank", TARGETS["crossed"], "fullrank_advi"),
    Repair(
        "corners",
        "four corners, mean field",
        mvnormal_mixture(
            [0.4, 0.3, 0.2, 0.1], [[-3, -3], [3, 3], [-3, 3], [3, -3]], [np.eye(2).tolist()] * 4, name="corners"
        ),
    ),
)


def members_of(fit: xr.DataTree, family: str) -> list[Target]:
    """Fits at the distinct optima of runs of ADVI."""
    count = sum(name.startswith("optimum_") for name in fit.children)
    return [member_of(fit[f"optimum_{k}/fit"].to_dataset(), FAMILIES[family]) for k in range(count)]


def mixed(members: Sequence[Target], weights: Array) -> Target:
    """Mixture of Normals with given weights."""
    kept = weights > 1e-12
    share = weights[kept] / weights[kept].sum()
    places = [m.scales[0] for m, keep in zip(members, kept, strict=True) if keep]
    if members[0].dim == 1:
        return normal_mixture(share, [m[0] for m, _ in places], [s[0, 0] for _, s in places])
    return mvnormal_mixture(share, np.array([m for m, _ in places]), np.array([s @ s.T for _, s in places]))


def run_repair(name: str, seed: int, starts: int, draws: int, schedule: Schedule) -> xr.DataTree:
    """Find the optima of one target from several starts, and mix them.

    Parameters
    ----------
    name : str
        Of one of `REPAIRS`.
    seed, starts, draws : int
    schedule : Schedule

    Returns
    -------
    xarray.DataTree
        ``members`` over ``member``: where each is, its KL, both weights, the mass it covers; ``combined``: KL of the best single
        fit, of the mixture with the best weights (estimated by `combine`, and exact), and of that with the softmax of the
        ELBOs; ``p_data``, ``single``, ``mixture``: draws; ``shown``: see `_densities` and `_contours`.
    """
    case = next(r for r in REPAIRS if r.name == name)
    target = case.target
    fit = fit_advi(target, method=case.method, starts=starts, seed=seed, schedule=schedule, draws=2)
    found, members = optima(fit), members_of(fit, case.family)
    combined = combine(target, members, seed=seed)
    reference = target.rvs(REFERENCE, 1000 * seed + 500)
    # The target is normalised, so minus the ELBO is the KL: quadrature is kept for what is compared with it.
    single = [
        kl(m, target) if target.dim == 1 else Estimate(-float(e), float(s), "quasi-Monte Carlo")
        for m, e, s in zip(members, found["elbo"], found["elbo_se"], strict=True)
    ]
    values = {
        "single": single[0],
        "mixture": kl(combined.mixture, target),
        "softmax": kl(mixed(members, combined.separated), target),
        "estimated": combined.divergence,
    }
    reached = {}
    if target.dim == 1:
        exact = minima(reverse_projections(target, FAMILIES[case.family]))
        values["exact_members"] = kl(combine(target, [p.member for p in exact], seed=seed).mixture, target)
        reached = {"exact_minima": len(exact), "exact_reached": len({nearest(m, exact) for m in members})}
    per_member = {
        "kl": [e.value for e in single],
        "kl_error": [e.error for e in single],
        "weight": combined.weights,
        "softmax": combined.separated,
        "runs": found["runs"].to_numpy(),
        "converged": found["converged"].to_numpy(),
        "covered": [covered_mass(m, reference, level=LEVEL).value for m in members],
    }
    places = {key: (("member", "dim"), found[key].to_numpy()) for key in ("mean", "sd")}
    tree = {
        "members": xr.Dataset(places | {key: ("member", column) for key, column in per_member.items()}),
        "combined": xr.Dataset(_with_errors(values) | reached),
        "shown": _densities(target, members[0], combined.mixture)
        if target.dim == 1
        else _contours(target, combined.mixture),
    }
    for role, q, stream in (("p_data", target, 0), ("single", members[0], 1), ("mixture", combined.mixture, 2)):
        densities = {"log_p": target} | ({} if role == "p_data" else {"log_q": q})
        for group, dataset in draws_of(q, draws, 1000 * seed + 501 + stream, **densities).items():
            tree[f"{role}/{group}"] = dataset
    result = xr.DataTree.from_dict(tree)
    result.attrs = {
        "title": case.title,
        "family": case.family,
        "method": case.method,
        "target": json.dumps(dict(target.spec)),
        "target_name": target.name,
    }
    return result


def _with_errors(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    return {k: e.value for k, e in estimates.items()} | {f"{k}_error": e.error for k, e in estimates.items()}


def _densities(target: Target, single: Target, mixture: Target) -> xr.Dataset:
    """Densities over x of a target, its best single fit and the mixture."""
    centres = [m[0] for m, _ in target.scales]
    x = np.linspace(min(centres) - 4.5, max(centres) + 4.5, 401)
    fits = {"target": target, "single": single, "mixture": mixture}
    return xr.Dataset({key: ("x", np.exp(q.logp(x[:, None]))) for key, q in fits.items()}, coords={"x": x})


def _contours(target: Target, mixture: Target) -> xr.Dataset:
    """Densities over a plane of a target, the forward Normal and the mixture, and ``..._levels`` that enclose 90% and 50%."""
    forward = forward_projection(target, FAMILIES["mvnormal"]).member
    centre, factor = forward.scales[0]
    reach = np.abs(centre) + 2.2 * np.sqrt(np.square(factor).sum(axis=1))  # holds the ellipse with 90% of the mass
    x = np.linspace(-1, 1, 121) * max(5.2, float(reach.max()))
    points = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    data = xr.Dataset(coords={"x": x, "y": x})
    for key, q in (("target", target), ("forward", forward), ("mixture", mixture)):
        data[key] = (("x", "y"), np.exp(q.logp(points)).reshape(len(x), len(x)))
        data[f"{key}_levels"] = ("mass", np.quantile(np.exp(q.logp(q.rvs(20_000, seed=0))), [0.1, 0.5]))
    return data


def run_overlap(separations: Sequence[float], seed: int) -> xr.DataTree:
    """Mix all exact minima on ½ N(±a, 1), among them the broad one that overlaps with both others."""
    rows = []
    for a in separations:
        target = normal_mixture([0.5, 0.5], [-a, a], [1, 1])
        exact = sorted(minima(reverse_projections(target, FAMILIES["normal"])), key=lambda p: float(p.params["mu"]))
        members = [p.member for p in exact]
        found = combine(target, members, seed=seed)
        broad = len(exact) // 2
        estimates = {
            "best": kl(found.mixture, target),
            "softmax": kl(mixed(members, found.separated), target),
            "single": min((p.divergence for p in exact), key=lambda e: e.value),
            "estimated": found.divergence,
        }
        rows.append(
            xr.Dataset(
                _with_errors(estimates)
                | {
                    "broad_weight": found.weights[broad],
                    "broad_softmax": found.separated[broad],
                    "minima": len(exact),
                }
            )
        )
    return xr.DataTree(xr.concat(rows, "separation").assign_coords(separation=list(separations)))
