"""What a search cannot fit, said with the variables to blame and what would help: a density that vanishes at every start, or inside of every Normal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.advi.fixed import fixed_nodes
from models.advi.propriety import ends_between
from models.advi.refine import NOT_FINITE, Optimum
from models.errors import InputError
from models.targets import Posterior, Target
from models.targets.priors import nowhere

__all__ = ["refuse_beyond", "refuse_failure", "refuse_infinite"]

Array = NDArray[np.float64]

_LOOKED_AT = 16  # points at which the density is not finite


def refuse_failure(target: Target, starts: Sequence[Array]) -> None:
    """Refuse a search that found the log density finite at none of its starts (d,).

    Raises
    ------
    InputError
        Which names the variables whose log density is not finite at any of them: if these are observed, no initial value can help.
    """
    if not starts:
        raise InputError("the budget was used up before the first start was done; give more seconds")
    none = f"the log density is finite at none of {len(starts)} starts"
    there = [target.vanishing(start) for start in starts[:_LOOKED_AT]] if isinstance(target, Posterior) else []
    everywhere = [name for name in there[0] if all(name in names for names in there)] if there else []
    observed = {rv.name: rv for rv in target.source.observed_RVs} if isinstance(target, Posterior) else {}
    if isinstance(target, Posterior) and (data := [name for name in everywhere if name in observed]):
        raise InputError(
            f"{none}, and that of the observed {_listed(data)} at no start: {_what_data(target.source, observed[data[0]])}"
        )
    if isinstance(target, Posterior):
        free = [nowhere(rv) for rv in target.source.free_RVs if rv.name in everywhere]
        if wrong := [why for why in free if why]:
            raise InputError(f"{none}: {'; '.join(wrong)}. Initial values will not help")
    first = everywhere or (there[0] if there else [])
    blame = f" (of {_listed(first)}{' at any' if everywhere else ' at the first'})" if first else ""
    raise InputError(f"{none}{blame}; give initial values (initval=) or starts where it is")


def _what_data(model: Any, observed: Any) -> str:
    """What may be wrong with the data of an observed variable, and what would be right."""
    values = model.rvs_to_values[observed]
    data = np.asarray(values.get_value() if hasattr(values, "get_value") else getattr(values, "data", 0.0))
    odd = int((~np.isfinite(data)).sum()) if data.dtype.kind == "f" else 0
    if odd:
        return f"{odd} of its {data.size} values {'is' if odd == 1 else 'are'} infinite; leave {'it' if odd == 1 else 'them'} out"
    return (
        "its data, or some of them, are impossible wherever a start lies (a count above its n, a value off the support); check them: "
        "initial values will not help"
    )


def refuse_infinite(target: Target, optima: Sequence[Optimum]) -> None:
    """Refuse a density that vanishes where every Normal has mass, so that its reverse KL is infinite for all of them.

    One that is too small for a float, as at a scale of exp(-400), vanishes nowhere.

    Raises
    ------
    InputError
        Which names all variables to blame, and what would be right for each.
    """
    if any(o.verdict != NOT_FINITE for o in optima):
        return
    lead = optima[0]
    nodes = fixed_nodes(lead.shape.noise, power=12, seed=0)[0]
    points = lead.shape.points(lead.theta, nodes)
    with np.errstate(all="ignore"):
        bad = points[~np.isfinite(target.log_density(points)[0])]
    # Far and wide: the first few may all leave the support of the same variable.
    bad = bad[np.linspace(0, len(bad) - 1, min(len(bad), _LOOKED_AT)).astype(int)]
    beyond = [x for x in bad if ends_between(target.log_density, lead.mean, x)]
    if beyond:
        refuse_beyond(target, beyond)


def refuse_beyond(target: Target, beyond: Sequence[Array], where: str = "where every Normal has mass") -> None:
    """Refuse a density that vanishes at points (d,) that a Normal reaches.

    Raises
    ------
    InputError
    """
    names = dict.fromkeys(name for x in beyond for name in target.vanishing(x)) if isinstance(target, Posterior) else {}
    blame = f" (of {_listed([*names])})" if names else ""
    remedies = _remedies(target.source, [*names]) if isinstance(target, Posterior) else []
    raise InputError(
        f"the density vanishes {where}{blame}, so reverse KL is infinite for all of them; "
        + "; ".join(remedies or [_SUPPORT])
    )


_SUPPORT = "give the variable a prior on the support that the likelihood allows (HalfNormal for a rate, say)"


def _remedies(model: Any, names: Sequence[str]) -> list[str]:
    """What would be right for each kind of variable that a density vanishes by."""
    bare = [rv.name for rv in model.free_RVs if rv.name in names and model.rvs_to_transforms.get(rv) is None]
    potentials = [p.name for p in model.potentials if p.name in names]
    found = []
    if bare:
        found.append(f"keep the transform of {_listed(bare)} (leave out default_transform=None)")
    if potentials:
        found.append(
            f"write what {_listed(potentials)} demands without a log density of -inf: an order as transform=pm.distributions.transforms.ordered "
            "of one vector, a bound as the support of a prior (HalfNormal, pm.Truncated)"
        )
    if any(name not in {*bare, *potentials} for name in names):
        found.append(_SUPPORT)
    return found


def _listed(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names)) if len(names) < 3 else ", ".join(map(repr, names))
