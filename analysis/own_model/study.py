"""Your own model: examined, with what each optimum says on the scale that its author thinks in."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import xarray as xr

from analysis.parts import Progress
from models.advi import member, response_sds, response_trusted
from models.advi.effort import looked_at
from models.errors import ImproperError
from models.own_model import examine
from models.own_model.comparison import natural
from models.own_model.moments import of_normals
from models.results import SCHEMA_VERSION, versions
from models.targets import from_model

__all__ = ["QUESTION", "analyse", "optima_of"]

QUESTION = "What would ADVI report for this model, what does it miss, and what repairs it?"


def analyse(
    model: Any,
    *,
    name: str = "model",
    budget_s: float = 300.0,
    seed: int = 0,
    starts: int = 20,
    on_progress: Progress | None = None,
) -> xr.DataTree:
    """Examine a model; an improper posterior is an answer too.

    Parameters
    ----------
    model : pymc.Model
    name : str
        For what is printed.
    budget_s : float
        Seconds.
    seed, starts : int
    on_progress : callable, optional

    Returns
    -------
    xarray.DataTree
        As `models.own_model.examine` returns, and for each optimum ``optimum_k/natural``: over (variable) ``mean``, ``sd``, their
        errors ``mean_se`` and ``sd_se``, and ``sd_linear_response`` (nan where there is none, or the budget left no time) of each entry on the natural scale, with
        ``linear_response_trusted`` (see `models.advi.response_trusted`). For an improper posterior the model's data alone, with
        ``grade`` and ``sentence``. Attributes also hold ``name``, ``budget_s``, ``seconds``, ``versions`` (JSON).

    Raises
    ------
    InputError
        If the model cannot be examined.
    """
    begun = time.monotonic()
    try:
        tree = examine(
            model, budget_s=budget_s, seed=seed, starts=starts, on_progress=on_progress or (lambda _what, _share: None)
        )
    except ImproperError as error:
        tree = xr.DataTree.from_dict(from_model(model).data_groups())
        tree.attrs = {"grade": "improper", "sentence": " ".join(str(error).split())}
    end = begun + float(tree.attrs.get("seconds_compiling", 0.0)) + budget_s
    for k in range(len(optima_of(tree))):
        late = k > 0 and time.monotonic() > end
        tree[f"optimum_{k}/natural"] = xr.DataTree(
            dataset=_natural(tree, model, k, seed, looked_at(budget_s), late=late)
        )
    tree.attrs |= {
        "name": name, "seed": seed, "budget_s": budget_s, "seconds": time.monotonic() - begun,
        "schema_version": SCHEMA_VERSION, "versions": json.dumps(versions()),
    }  # fmt: skip
    return tree


def optima_of(tree: xr.DataTree) -> list[xr.DataTree]:
    """Return the optima, the highest ELBO first."""
    return [child for name, child in tree.children.items() if name.startswith("optimum_")]


def _natural(tree: xr.DataTree, model: Any, k: int, seed: int, each: float, *, late: bool) -> xr.Dataset:
    target, normal = from_model(model), member(tree, k)
    own = of_normals(target, normal, seed=seed, moves=tree[f"optimum_{k}/fit/node_moves"].to_numpy())

    def entries(x: Any) -> Any:
        return np.column_stack(list(natural(target, x).values()))

    if late:
        sds, trusted = np.full(len(own.names), np.nan), np.zeros(len(own.names), dtype=bool)
    elif k == 0 and "sd_linear_response" in tree["comparison"]:  # with what is known of other modes
        sds, trusted = (
            tree[f"comparison/{name}"].to_numpy() for name in ("sd_linear_response", "linear_response_trusted")
        )
    else:
        sds = response_sds(target, normal, entries, seed=seed, seconds=each)
        trusted = response_trusted(target, tree, k, entries, sds, seed=seed, seconds=each)
    data = {
        "mean": own.mean,
        "sd": own.sd,
        "mean_se": own.mean_error,
        "sd_se": own.sd_error,
        "sd_linear_response": sds,
        "linear_response_trusted": trusted,
    }
    return xr.Dataset({name: ("variable", values) for name, values in data.items()}, coords={"variable": own.names})
