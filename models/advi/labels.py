"""Labels exchanged: the entries of the variables of a PyMC model put in another order, on the scale where they are one for each label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.graphs import Deferred, compile_graph
from models.targets import Posterior

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["MOST_ENTRIES", "Variable", "orders", "variables"]

Array = NDArray[np.float64]
Map = Callable[[Array], Array]

MOST_ENTRIES = 8  # of an axis that may be one of labels
_MOST_LABELS = 4  # of which all orders are tried; of more, exchanges of neighbours


@dataclass(frozen=True, eq=False)
class Variable:
    """A value variable in a point of unconstrained space.

    Attributes
    ----------
    where : slice
        Its coordinates.
    shape : tuple of int
        On the scale where it has an entry for each label.
    scales : tuple of callable, optional
        The maps to that scale and back where unconstrained space has fewer entries: of a simplex, or of effects that sum to zero.
    """

    where: slice
    shape: tuple[int, ...]
    scales: tuple[Map, Map] | None = None

    def axes(self, length: int) -> list[tuple[int, ...]]:
        """Axes that may be those of so many labels: each of this length, and several together, as of a matrix of transitions."""
        long = [axis for axis, n in enumerate(self.shape) if n == length]
        return [some for count in range(1, len(long) + 1) for some in combinations(long, count)]

    def place(self, x: Array, order: Sequence[int], axes: Sequence[int]) -> Array:
        """Its coordinates with the entries along `axes` in another order."""
        if self.scales is None:
            return self._taken(x, order, axes)
        whole, back = self.scales
        with np.errstate(all="ignore"):  # where a weight is zero within rounding there is no image
            return np.ravel(back(self._taken(whole(x), order, axes).reshape(self.shape)))

    def sds(self, mean: Array, sd: Array, order: Sequence[int], axes: Sequence[int]) -> Array:
        """Sds of its coordinates with the entries along `axes` in another order."""
        if self.scales is None:
            return self._taken(sd, order, axes)
        with np.errstate(all="ignore"):
            moved = self.place(mean, order, axes)
            return np.sqrt(sum(np.square(self.place(mean + step, order, axes) - moved) for step in np.diag(sd)))

    def _taken(self, values: Array, order: Sequence[int], axes: Sequence[int]) -> Array:
        values = np.reshape(values, self.shape)
        for axis in axes:
            values = np.take(values, order, axis)
        return values.ravel()


@lru_cache(maxsize=1)
def variables(target: Posterior) -> tuple[Variable, ...]:
    """The value variables of a model, in the order of unconstrained space."""
    model = target.source
    short = pm.logprob.transforms.SimplexTransform, pm.distributions.transforms.ZeroSumTransform
    found = []
    for value, (where, shape) in zip(model.value_vars, target.blocks(), strict=True):
        transform = model.rvs_to_transforms[model.values_to_rvs[value]]
        if isinstance(transform, short):
            scales = _scales(transform, shape)
            found.append(Variable(where, np.shape(scales[0](target.initial_point[where])), scales))
        else:
            found.append(Variable(where, shape))
    return tuple(found)


def _scales(transform: Any, shape: tuple[int, ...]) -> tuple[Map, Map]:
    """The transform's own maps, from coordinates to the natural scale and back."""
    x = pytensor.tensor.tensor("x", shape=(None,) * len(shape), dtype="float64")
    whole, back = (compile_graph([x], way(x)) for way in (transform.backward, transform.forward))
    return lambda values: whole(np.reshape(values, shape)), back


def orders(length: int) -> list[tuple[int, ...]]:
    """Orders of so many labels, without the one that they are in."""
    everything = tuple(range(length))
    if length <= _MOST_LABELS:
        return list(permutations(everything))[1:]
    return [(*everything[:i], everything[i + 1], everything[i], *everything[i + 2 :]) for i in range(length - 1)]
