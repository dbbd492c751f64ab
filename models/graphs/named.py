"""Univariate distributions by PyMC's name: what is accepted, and what is refused in one line."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, lookup_error
from models.graphs.deferred import Deferred
from models.graphs.distributions import INTEGERS, Distribution, build
from models.graphs.store import kept

pm = Deferred("pymc")

__all__ = ["distribution"]

Array = NDArray[np.float64]


def distribution(name: str, params: Mapping[str, Any]) -> Distribution:
    """Check a univariate PyMC distribution given by name and parameters.

    Parameters
    ----------
    name : str
        PyMC's class name, e.g. ``"StudentT"``.
    params : mapping
        PyMC's keyword arguments, e.g. ``{"nu": 4, "mu": 0, "sigma": 1}``; None where PyMC takes None for a parameter that is not given.

    Raises
    ------
    InputError
        If the distribution or a parameter is unknown, or PyMC refuses the values.
    """
    values: dict[str, Array] = {}
    for key, value in params.items():
        if value is None and _may_lack(name, key):
            continue
        try:
            values[key] = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            raise InputError(f"parameter {key!r} of {name} is {value!r}; it must be a number") from None
        if not np.all(np.isfinite(values[key])):
            raise InputError(f"parameter {key!r} of {name} is {value!r}; it must be finite")
        if key in INTEGERS.get(name, ()) and np.any(values[key] != np.round(values[key])):
            raise InputError(f"parameter {key!r} of {name} is {value!r}; it must be an integer")
    if name == "Categorical" and "p" in values and abs(values["p"].sum() - 1) > 1e-8:
        raise InputError(f"parameter 'p' of Categorical sums to {values['p'].sum():.10g}; it must sum to 1")
    known = (name, [(key, value.tolist()) for key, value in values.items()])
    facts = kept("accepted distribution", known, lambda: _accepted(name, values, params))
    return Distribution(name, values, discrete=facts["discrete"])


#: What others call a parameter, and PyMC's names of it.
_SYNONYMS = {
    "mean": ("mu",), "loc": ("mu", "alpha"), "location": ("mu", "alpha"), "sd": ("sigma",), "std": ("sigma",),
    "stddev": ("sigma",), "scale": ("sigma", "b", "s", "beta"), "rate": ("lam", "beta"), "df": ("nu",),
    "shape": ("alpha", "a", "nu"), "a": ("alpha", "lower"), "b": ("beta", "upper"), "low": ("lower",), "high": ("upper",),
    "min": ("lower",), "max": ("upper",), "lambda": ("lam", "mu"), "prob": ("p",), "probs": ("p",), "size": ("n",),
}  # fmt: skip


def _univariate(name: str) -> Any:
    """PyMC's class of that name, if it makes variables of its parameters alone."""
    kind = getattr(pm, name, None)
    scalar = isinstance(kind, type) and kind.__module__.startswith("pymc.distributions.") and hasattr(kind, "dist")
    modules = ("continuous", "discrete", "mixture")
    made = {"Continuous", "Discrete", "Mixture", "NormalMixture", "Flat", "HalfFlat", "Interpolated"}
    return (
        kind
        if scalar and name not in made and (kind.__module__.split(".")[-1] in modules or name == "DiracDelta")
        else None
    )


def _may_lack(name: str, key: str) -> bool:
    """Whether a parameter is None unless given, as the ends of a truncated distribution are."""
    kind = _univariate(name)
    known = {} if kind is None else inspect.signature(kind.dist).parameters
    return key in known and known[key].default is None


def _accepted(name: str, values: Mapping[str, Array], given: Mapping[str, Any]) -> dict[str, bool]:
    """Refuse what PyMC does not know or does not take; say whether it is discrete."""
    if name in {"Flat", "HalfFlat"}:
        raise InputError(
            f"distribution {name!r} has no finite mass; give a proper one, such as Uniform with its two ends"
        )
    if name in {"Interpolated", "NormalMixture"}:
        raise InputError(
            f'distribution {name!r} is no target by name; give {{"weights", "means", "sds"}}, a mixture of Normals'
        )
    kind: Any = getattr(pm, name, None)
    if not (isinstance(kind, type) and hasattr(kind, "dist")):
        raise lookup_error("PyMC distribution", name, [n for n in dir(pm) if _univariate(n) is not None])
    if _univariate(name) is None:
        raise InputError(f"distribution {name!r} is not univariate; use a mixture of MvNormal or a PyMC model")
    _check_names(name, kind, values)
    try:
        variable = build(name, values)
    except (TypeError, ValueError) as error:
        raise InputError(f"PyMC's {name} refuses params {dict(given)!r}: {error}") from None
    if variable.ndim != 0:
        raise InputError(f"distribution {name!r} is not univariate; use a mixture of MvNormal or a PyMC model")
    discrete = str(variable.dtype).startswith(("int", "uint", "bool"))
    if name.startswith("Hurdle") and not discrete:
        raise InputError(
            f"distribution {name!r} has an atom at 0 beside a density, and is neither; give its parts one by one"
        )
    try:
        # FAST_COMPILE keeps PyMC's parameter checks, which our own mode leaves out.
        pm.draw(variable, random_seed=0, mode="FAST_COMPILE")
        pm.logp(variable, 0 if discrete else 0.5).eval(mode="FAST_COMPILE")
    except Exception as error:  # PyMC raises its own ParameterValueError, NumPy ValueError: both say what is wrong
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"PyMC's {name} refuses params {dict(given)!r}: {reason}") from None
    return {"discrete": discrete}


def _check_names(name: str, kind: Any, values: Mapping[str, Array]) -> None:
    """Refuse a parameter that is none: PyMC swallows it, and goes on with its defaults."""
    from difflib import get_close_matches
    from inspect import Parameter, signature

    by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    known = [k for k, p in signature(kind.dist).parameters.items() if p.kind in by_name]
    for key in values:
        if key not in known:
            near = [k for k in _SYNONYMS.get(key.lower(), ()) if k in known] or get_close_matches(
                key, known, n=1, cutoff=0.1
            )
            hint = f"; did you mean {near[0]}?" if near else "."
            raise InputError(f"{name} has no parameter {key!r}{hint} Known: {', '.join(known)}")
