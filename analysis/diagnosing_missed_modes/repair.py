"""Local fits of one target, found from several starts, and the mixtures that put them together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.judged import Normals, nearest
from models.advi import METHODS, Schedule, combine, fit_advi, optima
from models.advi.diagnostics import covered_mass
from models.divergences import kl
from models.families import FAMILIES
from models.projections import minima, reverse_projections
from models.quadrature import Estimate
from models.results import estimate_variables, member_of
from models.targets import TARGETS, Target, mvnormal_mixture, normal_mixture

__all__ = ["HEAVY", "LEVEL", "REPAIRS", "Repair", "members_of", "mixed", "run_overlap", "run_repair", "two_modes"]

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


REPAIRS = (
    Repair("equal", "½ N(±4, 1)", normal_mixture([0.5, 0.5], [-4, 4], [1, 1], name="equal")),
    Repair("trimodal", "three equal modes, spacing 6", TARGETS["trimodal"]),
    Repair("crossed", "crossed, full rank", TARGETS["crossed"], "fullrank_advi"),
)


def members_of(fit: xr.DataTree, family: str) -> list[Target]:
    """Fits at the distinct optima of runs of ADVI."""
    count = optima(fit).sizes["optimum"]
    return [member_of(fit[f"optimum_{k}/fit"].to_dataset(), FAMILIES[family]) for k in range(count)]


def mixed(members: Sequence[Target], weights: Array) -> Target:
    """Mixture of Normals with given weights."""
    kept = weights > 1e-12
    share = weights[kept] / weights[kept].sum()
    places = [m.scales[0] for m, keep in zip(members, kept, strict=True) if keep]
    if members[0].dim == 1:
        return normal_mixture(share, [m[0] for m, _ in places], [s[0, 0] for _, s in places])
    return mvnormal_mixture(share, np.array([m for m, _ in places]), np.array([s @ s.T for _, s in places]))


def run_repair(name: str, seed: int, starts: int, schedule: Schedule) -> xr.DataTree:
    """Find the optima of one target from several starts, and mix them.

    Parameters
    ----------
    name : str
        Of one of `REPAIRS`.
    seed, starts : int
    schedule : Schedule

    Returns
    -------
    xarray.DataTree
        ``members`` over ``member``: where each is, its KL, both weights, the mass it covers; ``combined``: KL of the best single
        fit, of the mixture with the best weights (estimated by `combine`, and exact), and of that with the softmax of the
        ELBOs. Attributes ``target`` and ``mixture`` (JSON) give both densities back.
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
        exact = [p.member for p in minima(reverse_projections(target, FAMILIES[case.family]))]
        values["exact_members"] = kl(combine(target, exact, seed=seed).mixture, target)
        ends = set(nearest(Normals.of(members), Normals.of(exact)).tolist())
        reached = {"exact_minima": len(exact), "exact_reached": len(ends)}
    columns = {
        "weight": combined.weights,
        "softmax": combined.separated,
        "runs": found["runs"].to_numpy(),
        "covered": [covered_mass(m, reference, level=LEVEL).value for m in members],
    }
    places = {key: (("member", "dim"), found[key].to_numpy()) for key in ("mean", "sd")}
    result = xr.DataTree.from_dict(
        {
            "members": xr.Dataset(
                {key: ("member", column) for key, column in columns.items()}
                | places
                | estimate_variables("kl", single, "member")
            ),
            "combined": _estimates(values).assign(reached),
        }
    )
    densities = {"target": target, "single": mixed(members[:1], np.ones(1)), "mixture": combined.mixture}
    result.attrs = {"title": case.title, "family": case.family} | {
        name: json.dumps(dict(density.spec), default=np.ndarray.tolist) for name, density in densities.items()
    }
    return result


def _estimates(values: dict[str, Estimate]) -> xr.Dataset:
    variables = [estimate_variables(name, value) for name, value in values.items()]
    return xr.Dataset({key: variable for part in variables for key, variable in part.items()})


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
        }
        weights = {"broad_weight": found.weights[broad], "broad_softmax": found.separated[broad]}
        rows.append(_estimates(estimates).assign(weights))
    return xr.DataTree(xr.concat(rows, "separation").assign_coords(separation=list(separations)))
