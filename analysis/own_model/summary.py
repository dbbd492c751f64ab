"""What ``duality model --json`` prints: the tree of an examined model as one document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis.own_model.study import optima_of
from models.advi.starts import NOT_DRAWN
from models.own_model.comparison import MOST_ENTRIES, told
from models.own_model.verdict import written_k_hat
from models.results import names_in_file

__all__ = ["open_moments", "reasons_of", "summary"]

_K_HAT = 0.7  # above which importance weights say nothing


def summary(tree: xr.DataTree) -> dict[str, Any]:
    """What there is to say of a model, in numbers.

    Parameters
    ----------
    tree : xarray.DataTree
        From `analysis.own_model.study.analyse`.

    Returns
    -------
    dict
        As DESIGN has it: ``starts``, ``optima`` (highest ELBO first), ``reference``, ``lower_bounds`` (of the errors of these optima, where no
        reference is to be relied on; see `models.own_model.short_chains`), ``missed_mass``, ``forward`` (the Normal that maximises the
        likelihood of the reference draws, and KL of all approximations both ways), ``modes`` (numbered as in the mixture), ``mixture`` (weight of each component, an optimum or a mode, counted from 1), ``mixture_lacks`` (share of the mass where the reference shows that it has next to nothing), ``verdict``, ``seconds``, ``warnings``.
        An ELBO or a KL that is known neither to a nat nor to a tenth is ``None``.
        A mean or an sd that the reference leaves open is ``None`` in it, and ``open`` of the reference says which are; so is one of an approximation
        that lies too far out in its tail to be computed.
        Variables go by the model's names with their coordinates, on the natural scale, and ``errors`` beside them are standard errors of their means
        and sds; ``sd_linear_response_not_trusted`` names those whose sd by linear response may be off by more than 15 % (`models.advi.response_trusted`); KL and ELBO in nats; ``None`` where there is no number.
    """
    attrs = tree.attrs
    tried = attrs.get("starts_tried")
    return {
        "name": attrs["name"],
        "starts": {
            "tried": None if tried is None else int(tried),
            "failed": None if tried is None else int(attrs["starts_failed"]),
            "unseen": _number(attrs.get("unseen")),
        },
        "optima": [_optimum(tree, k) for k in range(len(optima_of(tree)))],
        "reference": _reference(tree),
        "lower_bounds": _bounds(tree),
        "missed_mass": _interval(attrs, "missed_mass", "missed_lower", "missed_upper"),
        "modes": _modes(tree),
        "mixture": _mixture(tree),
        "mixture_lacks": _lacks(tree),
        "forward": _forward(tree),
        "verdict": {"grade": attrs["grade"], "sentence": attrs["sentence"]},
        "seed": int(attrs["seed"]),
        "seconds": round(float(attrs["seconds"]), 1),
        "seconds_compiling": round(float(attrs.get("seconds_compiling", 0.0)), 1),
        "warnings": _warnings(tree),
    }


def _optimum(tree: xr.DataTree, k: int) -> dict[str, Any]:
    fit, natural = (tree[f"optimum_{k}/{name}"].to_dataset() for name in ("fit", "natural"))
    repair = tree["repair"].to_dataset()
    own = f"optimum {k}"
    known = own in repair["component"].to_numpy()
    known_elbo = told(float(fit["loss"]), float(np.nan_to_num(fit["loss_se"])))
    return {
        "elbo": _number(-fit["loss"]) if known_elbo else None,
        "elbo_se": _number(fit["loss_se"]) if known_elbo else None,
        "evidence_weight": _number(repair["weight"].sel(component=own)) if known else None,
        "share_of_starts": _number(fit["share"]),
        "at_rest": bool(fit["converged"]),
        "verdict": str(fit["verdict"].item()),
        "k_hat": _number(fit["k_hat"]),
        "k_hat_linear_response": _number(fit["k_hat_linear_response"]),
        "variables": _variables(_reached(natural), mean="mean", sd="sd", sd_linear_response="sd_linear_response"),
        "errors": _variables(natural, mean="mean_se", sd="sd_se"),
        "sd_linear_response_not_trusted": _doubtful(natural),
    }


def _doubtful(natural: xr.Dataset) -> list[str]:
    """Variables that have an sd by linear response which may be off by more than 15 %."""
    sds, trusted = (natural[name].to_numpy() for name in ("sd_linear_response", "linear_response_trusted"))
    return [str(name) for name in natural["variable"].to_numpy()[np.isfinite(sds) & ~trusted]]


def _reached(data: xr.Dataset) -> xr.Dataset:
    """Moments of a Normal without those that its nodes do not reach (see `models.own_model.moments.of_normals`)."""
    return data.assign({name: data[name].where(~np.isinf(data[f"{name}_se"])) for name in ("mean", "sd")})


def _variables(data: xr.Dataset, **columns: str) -> dict[str, dict[str, float | None]]:
    return {
        str(name): {key: _number(data[column][i]) for key, column in columns.items()}
        for i, name in enumerate(data["variable"].to_numpy())
    }


def _reference(tree: xr.DataTree) -> dict[str, Any] | None:
    if "reference" not in tree.children:
        return None
    node, table = tree["reference"], tree["comparison"].to_dataset()
    return {
        "method": node.attrs["method"],
        "ok": bool(node.attrs["ok"]),
        "reasons": reasons_of(tree),
        "variables": _variables(table, mean="reference_mean", sd="reference_sd"),
        "open": open_moments(tree),
        "errors": _variables(table, mean="reference_mean_se", sd="reference_sd_se"),
    }


def open_moments(tree: xr.DataTree) -> dict[str, str]:
    """What of which variables the reference leaves open, so that it is no number: ``sd``, or ``mean and sd``; empty without a reference."""
    table = tree["comparison"].to_dataset()
    if "reference_sd" not in table:
        return {}
    names, mean, sd = (table[name].to_numpy() for name in ("variable", "reference_mean", "reference_sd"))
    return {
        str(name): "mean and sd" if np.isnan(m) else "sd"
        for name, m, s in zip(names, mean, sd, strict=True)
        if np.isnan(s)
    }


def reasons_of(tree: xr.DataTree) -> list[str]:
    """Why the reference may not be called one; netCDF gives a list of one back as a text. Nothing where there is none."""
    if "reference" not in tree.children:
        return []
    reasons = tree["reference"].attrs["reasons"]
    return ([reasons] if reasons else []) if isinstance(reasons, str) else [str(reason) for reason in reasons]


def _bounds(tree: xr.DataTree) -> list[dict[str, dict[str, float | None]]]:
    """By how much each optimum is off at least, by variable; empty where there is a reference, or no time was left."""
    if "lower_bounds" not in tree.children:
        return []
    bounds = tree["lower_bounds"].to_dataset()
    return [_variables(bounds.isel(optimum=k), mean_error="mean_error", sd_factor="sd_factor", correlation="correlation")
            for k in range(bounds.sizes["optimum"])]  # fmt: skip


def _modes(tree: xr.DataTree) -> list[dict[str, Any]]:
    if "modes" not in tree.children:
        return []
    modes = tree["modes"].to_dataset()
    keys = ("mass", "mass_lower", "mass_upper")
    return [
        {
            "mode": int(modes["mode"][i]) + 1,
            "mass": _interval({k: float(modes[k][i]) for k in keys}, *keys),
            "covered": bool(modes["covered"][i]),
        }
        for i in range(modes.sizes["mode"])
    ]


def _mixture(tree: xr.DataTree) -> dict[str, dict[str, float | None]]:
    if "repair" not in tree.children:
        return {}
    repair = tree["repair"].to_dataset()
    parts = [name.split() for name in repair["component"].to_numpy().astype(str)]
    return {
        f"{kind} {int(number) + 1}": {"weight": _number(repair["weight"][i]), "error": _number(repair["weight_se"][i])}
        for i, (kind, number) in enumerate(parts)
    }


def _lacks(tree: xr.DataTree) -> dict[str, float | None] | None:
    keys = ("lacks", "lacks_lower", "lacks_upper")
    repair = tree["repair"].to_dataset() if "repair" in tree.children else {}
    return _interval({key: repair.get(key) for key in keys}, *keys)


def _forward(tree: xr.DataTree) -> dict[str, Any]:
    if "divergences" not in tree.children:
        return {}
    kl, comparison = tree["divergences"].to_dataset(), tree["comparison"].to_dataset()
    names = [str(name) for name in kl["approximation"].to_numpy()]
    left = open_moments(tree)
    return {
        "divergences": {
            name: {
                way: {"value": _number(kl[way][i]), "error": _number(kl[f"{way}_se"][i])}
                for way in ("reverse", "forward")
            }
            for i, name in enumerate(names)
        },
        # Its moments are those of the draws: as open as these.
        "variables": {
            name: dict.fromkeys(values) if name in left else values
            for name, values in _variables(
                _reached(comparison.sel(approximation="forward")), mean="mean", sd="sd"
            ).items()
        }
        if "forward" in names
        else {},
    }


def _interval(values: Mapping[Any, Any], *keys: str) -> dict[str, float | None] | None:
    found = [_number(values.get(key)) for key in keys]
    return None if found[0] is None else dict(zip(("value", "lower", "upper"), found, strict=True))


def _not_responded(tree: xr.DataTree, k: int) -> bool:
    """Whether an optimum has linear response, and the natural scale does not."""
    there = np.isfinite(tree[f"optimum_{k}/fit/cov_linear_response"]).all()
    return bool(there and np.isnan(tree[f"optimum_{k}/natural/sd_linear_response"]).all())


def _warnings(tree: xr.DataTree) -> list[str]:
    """What a reader of the numbers should know first."""
    attrs, found = tree.attrs, []
    if attrs.get("batched"):
        found.append("the model takes minibatches (pm.Minibatch); all that is said here is of its whole data")
    if not attrs.get("complete", 1):
        found.append("the budget ended the search for optima early; more seconds (--budget) try more starts")
    if late := [k + 1 for k in range(len(optima_of(tree))) if _not_responded(tree, k)]:
        found.append(f"the budget left no time for linear response at optimum {', '.join(map(str, late))}")
    if "comparison" in tree.children and tree["comparison"].sizes["variable"] >= MOST_ENTRIES:
        found.append(f"of the entries of all variables the first {MOST_ENTRIES} are compared")
    if names := names_in_file(tree):
        said = ", ".join(f"{name!r} is {other!r}" for name, other in names.items())
        found.append(f"netCDF refuses some names: in model.nc {said} (models.results.load gives the names back)")
    if thinned := int(attrs.get("thinned", 0)):
        found.append(
            f"of each posterior no more than {thinned} draws are saved: its variables have so many values that more would not fit into 200 MB"
        )
    if lost := sum(NOT_DRAWN in str(label) for label in _labels(tree)):
        found.append(
            f"{lost} draws of the prior failed or were not finite; these starts lie near the initial point instead"
        )
    if failed := int(attrs.get("starts_failed", 0)):
        found.append(
            f"the loss was finite at {attrs['starts_tried'] - failed} of {attrs['starts_tried']} starts; the others are set aside"
        )
    if "repair" in tree.children:
        k_hat = float(tree["repair/k_hat"])
        what = _by_weights(tree)
        if what and not k_hat <= _K_HAT:
            found.append(f"{what} not reliable (the k-hat of the mixture is {written_k_hat(k_hat)})")
        # What k-hat says of a mixture need not be said twice: in many dimensions a little misfit already leaves much of the mass where it has little.
        if k_hat <= _K_HAT and (lacks := _lacks(tree)) and " lacks " not in attrs["sentence"]:
            what = "the mixture has" if tree["repair"].sizes["component"] > 1 else "the one Normal of the repair has"
            share = 100 * (lacks["value"] or 0)
            found.append(f"{what} next to nothing where {share:.0f} % of the mass is, by the reference")
        untold = [reason for reason in reasons_of(tree) if reason not in attrs["sentence"]]
        found += [f"the reference ({tree['reference'].attrs['method']}) is not to be relied on: {r}" for r in untold]
        if "reference" not in tree.children and "no reference" not in attrs["sentence"]:
            found.append("there is no reference: the budget left no time for one")
    return found


def _labels(tree: xr.DataTree) -> Any:
    """Labels of the starts."""
    return tree["restarts/restart"].to_numpy() if "restarts" in tree.children else ()


def _by_weights(tree: xr.DataTree) -> str:
    """What rests on importance weights of the mixture: its own unless they are a reference's, and every KL unless a grid gives the evidence."""
    known = "reference" in tree.children and not reasons_of(tree)
    if known and tree["reference"].attrs["method"] == "grid":
        return ""
    if known or tree["repair"].sizes["component"] == 1:
        return "the log evidence, and so all KL, is"
    return "the weights of the mixture, and the KL that rest on them, are"


def _number(value: Any) -> float | None:
    """A finite number for JSON, or none."""
    number = np.nan if value is None else float(value)
    return number if np.isfinite(number) else None
