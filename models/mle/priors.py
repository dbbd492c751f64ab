"""Priors that a caller gives: checked before anything is fitted, so that what is wrong is said by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pytensor import function
from pytensor.compile.mode import Mode
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import RandomVariable

from models.errors import InputError, lookup_error
from models.families import Family, Parameter

__all__ = ["Prior", "check_priors"]

Array = NDArray[np.float64]
_EXAMPLE = "pm.Normal.dist(0, 10)"


@dataclass(frozen=True, eq=False)
class Prior:
    """A proper or flat density over one parameter.

    Attributes
    ----------
    name : str
        The parameter.
    variable : TensorVariable
        As PyMC's ``.dist`` makes it.
    kind : str
        PyMC's name of the distribution.
    low, high : float
        Ends of its support.
    proper : bool
        Whether it can be drawn from; ``Flat`` and ``HalfFlat`` cannot.
    middle, width : float, optional
        Median, and half of the distance between the 16 % and 84 % quantiles, of draws; absent if it is flat or a vector.
    """

    name: str
    variable: Any
    kind: str
    low: float
    high: float
    proper: bool
    middle: float | None = None
    width: float | None = None

    def logp(self, value: Any) -> Any:
        """Symbolic log density, summed: a scalar prior holds for every entry of the parameter alike."""
        return pm.logp(self.variable, value).sum()

    def __str__(self) -> str:
        ends = f"[{self.low:g}, {self.high:g}]" if np.isfinite([self.low, self.high]).any() else "the real line"
        return f"the prior on {self.name!r}, {self.kind} on {ends}"


def check_priors(family: Family, dim: int, priors: Mapping[str, Any]) -> dict[str, Prior]:
    """Check priors of the parameters of a family.

    Parameters
    ----------
    family : Family
    dim : int
        Dimension of a point.
    priors : mapping of str to PyMC distribution

    Returns
    -------
    dict of str to Prior

    Raises
    ------
    InputError
        For a prior on an unknown parameter or on a covariance; one that is no continuous PyMC distribution, depends on other
        random variables, has another shape than its parameter, has parameters that PyMC refuses, or no finite density where
        the parameter may be.
    """
    if not isinstance(priors, Mapping):
        raise InputError(f"priors is {priors!r}; give a dict of parameter names and PyMC distributions")
    parameters = {p.name: p for p in family.parameters if p.support != "covariance"}
    for name in priors:
        if name not in parameters:
            raise lookup_error(f"parameter of family {family.name} that takes a prior", str(name), list(parameters))
    return {name: _checked(parameters[name], dim, given) for name, given in priors.items()}


def _checked(p: Parameter, dim: int, given: Any) -> Prior:
    what = f"the prior on {p.name!r}"
    op = given.owner.op if isinstance(given, Variable) and given.owner is not None else None
    kind = str(getattr(op, "_print_name", ("",))[0])
    family = getattr(pm, kind, None)
    if not kind or not isinstance(family, type):
        raise InputError(
            f"{what} is {given!r:.60} ({type(given).__name__}); give a PyMC distribution such as {_EXAMPLE}"
        )
    if issubclass(family, pm.Discrete) or "int" in str(given.dtype):
        raise InputError(f"{what}, {kind}, is discrete but the parameter is not; give a density such as {_EXAMPLE}")
    value = given.type()
    try:
        graph = pm.logp(given, value)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InputError(
            f"{what}, {kind}, has no log density ({_first_line(error)}); give one such as {_EXAMPLE}"
        ) from None
    if any(v.owner is not None and isinstance(v.owner.op, RandomVariable) for v in ancestors([graph])):
        raise InputError(
            f"{what}, {kind}, depends on other random variables; give its parameters as numbers, or sample the whole model"
        )
    shape = tuple(int(n) for n in np.atleast_1d(given.shape.eval(mode=_CHECKED)))
    if shape not in ((), p.shape_in(dim)) or (p.support == "simplex" and not shape):
        wanted = f"shape {p.shape_in(dim)}" + ("" if p.support == "simplex" else ", or a scalar for every entry alike")
        raise InputError(f"{what}, {kind}, has shape {shape} but the parameter has {wanted if p.shape else 'shape ()'}")
    low, high = _support(given, kind)
    draws = _draws(given, what, kind)
    if p.support == "positive":
        low = max(low, 0.0)
    if low >= high:
        raise InputError(f"{what}, {kind}, lies below 0 but the parameter must be positive")
    probes = _probes(draws, low, high, shape)
    evaluate = _evaluator(graph, value)
    try:
        densities = np.array([np.sum(evaluate(probe)) for probe in probes])
    except ValueError as error:  # PyMC's ParameterValueError says which parameter
        raise InputError(f"{what}, {kind}, is refused by PyMC: {_first_line(error)}") from None
    if not np.isfinite(densities).any():
        raise InputError(
            f"{what}, {kind}, has no finite density where {p.name!r} may be; give finite parameters that leave it some room"
        )
    if draws is None or shape:
        return Prior(p.name, given, kind, low, high, draws is not None)
    quantiles = np.quantile(draws, [0.16, 0.5, 0.84])
    return Prior(p.name, given, kind, low, high, True, float(quantiles[1]), float(quantiles[2] - quantiles[0]) / 2)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _evaluator(graph: Any, value: Any) -> Any:
    with np.errstate(all="ignore"):  # impossible parameters are folded into constants before they are checked
        return function([value], graph, mode=_CHECKED, on_unused_input="ignore")


#: Keeps PyMC's checks of parameters, which the mode of this project leaves out, and waits for no compiler.
_CHECKED = Mode(linker="py", optimizer="fast_compile")


def _support(given: Any, kind: str) -> tuple[float, float]:
    """Ends of the support, from the transform that PyMC gives the variable in a model."""
    twin = given.owner.clone().outputs[given.owner.outputs.index(given)]  # registering changes a variable's name
    with pm.Model(model=None) as model:
        transform = model.rvs_to_transforms[model.register_rv(twin, "prior")]
    if transform is None or given.type.ndim or kind == "VonMises":
        return -np.inf, np.inf
    ends = [float(transform.backward(np.float64(u), *given.owner.inputs).eval(mode=_CHECKED)) for u in (-1e3, 1e3)]
    return min(ends), max(ends)


def _draws(given: Any, what: str, kind: str) -> Array | None:
    try:
        with np.errstate(all="ignore"):
            return np.asarray(pm.draw(given, 201, random_seed=0, mode=_CHECKED), dtype=float)
    except NotImplementedError:
        return None
    except Exception as error:  # NumPy and PyMC both refuse impossible parameters here
        raise InputError(f"{what}, {kind}, is refused by PyMC: {_first_line(error)}") from None


def _probes(draws: Array | None, low: float, high: float, shape: tuple[int, ...]) -> list[Array]:
    if draws is not None:
        inside = [d for d in draws[::10] if np.all((d >= low) & (d <= high))]
        if inside:
            return inside
    start = low if np.isfinite(low) else -high if np.isfinite(high) else 0.0
    points = [start + 1.0, 0.5 * (low + high)] if np.isfinite(high - low) else [start + 1.0]
    return [np.full(shape, v) for v in points]
