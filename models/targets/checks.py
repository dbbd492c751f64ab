"""What targets are refused for: parameters that are none of a distribution, data that no fit can use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError

__all__ = [
    "check_draws",
    "check_names",
    "check_seed",
    "cholesky",
    "labels_of",
    "mixture_weights",
    "numbers",
    "positive",
    "same_length",
]

Array = NDArray[np.float64]


def numbers(value: Any, what: str, ndim: int) -> Array:
    """Return an array of finite floats of `ndim` dimensions, or refuse it."""
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{what} is {value!r}; it must be an array of numbers with {ndim} dimension(s)") from None
    if array.ndim != ndim:
        raise InputError(f"{what} has {array.ndim} dimension(s); it must have {ndim}")
    if not np.all(np.isfinite(array)):
        bad = np.argwhere(~np.isfinite(array))[0]
        raise InputError(f"{what}{_index(bad)} is {array[tuple(bad)]}; it must be finite")
    return array


def _index(position: Sequence[int] | Array) -> str:
    return "".join(f"[{int(i)}]" for i in position)


def mixture_weights(weights: Any) -> Array:
    """Return positive weights (k,) that sum to 1, or refuse them."""
    w = numbers(weights, "weights", 1)
    if len(w) == 0:
        raise InputError("weights is empty; give at least one component")
    if np.any(w <= 0):
        k = int(np.argmax(w <= 0))
        raise InputError(f"weights[{k}] is {w[k]:g}; every weight must be positive")
    if abs(w.sum() - 1) > 1e-8:
        raise InputError(f"weights sum to {w.sum():.10g}; they must sum to 1")
    return w / w.sum()


def same_length(reference: Array, **others: Array) -> None:
    """Refuse arrays whose length is not that of the weights."""
    for name, array in others.items():
        if len(array) != len(reference):
            raise InputError(f"{name} has length {len(array)} but weights has length {len(reference)}; make them equal")


def positive(array: Array, what: str) -> None:
    """Refuse an array with an entry that is not positive."""
    if np.any(array <= 0):
        position = np.argwhere(array <= 0)[0]
        value = array[tuple(position)]
        raise InputError(f"{what}{_index(position)} is {value:g}; every {what.rstrip('s')} must be positive")


def cholesky(cov: Array, what: str) -> Array:
    """Return the Cholesky factor of a covariance, or refuse it."""
    if cov.shape[0] != cov.shape[1]:
        raise InputError(f"{what} has shape {cov.shape}; a covariance is square")
    if not np.allclose(cov, cov.T, rtol=1e-10, atol=1e-12):
        raise InputError(f"{what} is not symmetric; a covariance is")
    try:
        return np.asarray(np.linalg.cholesky(cov))
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(cov)[0]
        raise InputError(
            f"{what} is not positive definite (smallest eigenvalue {smallest:.6g}); every eigenvalue must be positive"
        ) from None


def check_seed(seed: int) -> None:
    """Refuse a negative seed.

    Raises
    ------
    InputError
    """
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be a non-negative integer")


def check_names(model: Any) -> None:
    """Refuse a PyMC model with a variable whose name its draws need for an axis: `pymc.sample` drops such a variable silently.

    Raises
    ------
    InputError
    """
    labelled = model.named_vars_to_dims
    axes = {f"{v.name}_dim_{i}" for v in model.unobserved_RVs if v.name not in labelled for i in range(v.ndim)}
    names = {*model.named_vars, *model.coords}
    if taken := sorted(names & {"chain", "draw", *axes}):
        raise InputError(
            f"{' and '.join(map(repr, taken))} {'is a name' if len(taken) == 1 else 'are names'} that ArviZ gives to axes of the draws; "
            "call the variable something else"
        )


def check_angles(model: Any) -> None:
    """Refuse a PyMC model with a free variable on the circle: its log density is periodic where fits live, so that every mode is there without end.

    Raises
    ------
    InputError
    """
    angles = [v.name for v, t in model.rvs_to_transforms.items() if v in model.free_RVs and _circular(t)]
    if angles:
        one = len(angles) == 1
        raise InputError(
            f"the {'variable' if one else 'variables'} {' and '.join(map(repr, angles))} {'is an angle' if one else 'are angles'} (PyMC's circular transform): the log "
            "density repeats itself every 2 pi, and has no finite integral over the unbounded space where fits live; give the angle a Normal or Uniform prior about "
            "where it is, or one turn about it as its range (default_transform=pm.distributions.transforms.Interval(lower, upper))"
        )


def _circular(transform: Any) -> bool:
    """Whether a transform, or one of a chain of them, is PyMC's of angles."""
    return any(getattr(t, "name", None) == "circular" for t in getattr(transform, "transform_list", [transform]))


def labels_of(values: Sequence[Any]) -> NDArray[Any]:
    """Labels (n,) of a dimension as netCDF can hold them: numbers, booleans, texts and dates as they are, anything else as its text.

    Examples
    --------
    >>> labels_of([(1, "a"), None]).tolist()
    ["(1, 'a')", 'None']
    """
    given = list(values)
    try:
        found = np.asarray(given)
    except ValueError:  # tuples of several lengths
        found = np.empty(0, dtype=object)
    if found.shape == (len(given),) and found.dtype.kind in "biufUM":
        return found
    return np.array([str(v) for v in given], dtype=str)


def check_draws(x: ArrayLike) -> Array:
    """Return data as finite floats (n, d), refusing what no fit can use.

    Booleans are refused, as are numbers written as text: neither is a measurement of a density.

    Raises
    ------
    InputError
        For text, dates, booleans, complex or masked entries, missing or infinite values, numbers whose squares overflow or
        vanish, more than two dimensions, or fewer than two distinct observations. Observations are counted from 1.
    """
    raw = _real_array(x)
    with np.errstate(over="ignore"):  # an extended float becomes infinite, and is refused as such
        array = np.asarray(raw, dtype=float)
    if array.ndim not in (1, 2):
        raise InputError(f"the observations have {array.ndim} dimensions; give an array (n,) or (n, d)")
    if array.size == 0 and not (array.ndim == 2 and len(array)):
        raise InputError("there are no observations; give at least 2 distinct ones, as an array (n,) or (n, d)")
    array = array.reshape(len(array), -1)
    if array.shape[1] == 0:
        raise InputError("the observations have no columns; give an array (n,) or (n, d) with d at least 1")
    # The extremes are finite unless an entry is not: two passes without a mask in the usual case.
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        finite = np.isfinite(array).all(axis=1)
        row = int(np.argmin(finite))
        raise InputError(
            f"observation {row + 1} is {array[row].tolist() if array.shape[1] > 1 else array[row, 0]} "
            f"({int((~finite).sum())} of {len(array)} are not finite); remove missing and infinite values first"
        )
    largest = max(-low, high)
    if largest > _LARGEST or 0 < largest < 1 / _LARGEST:
        row = int(np.argmax(np.abs(array).max(axis=1)))
        raise InputError(
            f"observation {row + 1} is {array[row].tolist() if array.shape[1] > 1 else array[row, 0]}, the largest in size; its "
            f"square {'overflows' if largest > 1 else 'vanishes in'} a float; divide the data by {largest:.0e}"
        )
    if (array[:100] == array[0]).all() and (array == array[0]).all():
        integers = np.reshape(raw, (len(array), -1))
        if integers.dtype.kind in "iuO" and (integers != integers[0]).any():
            raise InputError(
                f"the {len(array)} observations are integers near {integers[0, 0]} that are not distinguishable as floats; "
                "subtract an offset first"
            )
        value = array[0].tolist() if array.shape[1] > 1 else array[0, 0]
        raise InputError(
            f"{'the only observation is' if len(array) == 1 else f'all {len(array)} observations are'} {value}: fewer than 2 of "
            "them distinct; give at least 2 distinct"
        )
    return array


#: The square of a larger number, summed over a sample, overflows; that of its inverse vanishes.
_LARGEST = 1e150


def _real_array(x: ArrayLike) -> NDArray[Any]:
    """Array of real numbers, as given: not yet floats."""
    remedy = "give a numeric array (n,) or (n, d)"
    if x is None:
        raise InputError(f"the observations are None; {remedy}")
    if np.ma.isMaskedArray(x) and np.ma.getmaskarray(x).any():
        row = int(np.argwhere(np.ma.getmaskarray(x))[0][0])
        raise InputError(
            f"observation {row + 1} is masked; remove masked entries first (x.compressed() for one column)"
        )
    try:
        raw = np.asarray(x)
    except (TypeError, ValueError):
        raise InputError(f"the observations are not numbers in rows of one length; {remedy}") from None
    kinds = {
        "b": "booleans",
        "c": "complex",
        "M": "dates",
        "m": "time differences",
        "U": "text",
        "S": "text",
        "V": "records",
    }
    if raw.dtype.kind in kinds:
        first = f" (the first is {raw.flat[0]!s:.40})" if raw.size else ""
        raise InputError(f"the observations are {kinds[raw.dtype.kind]}{first}, not numbers; {remedy} of real numbers")
    if raw.dtype.kind == "O":
        for index, value in np.ndenumerate(raw):
            place = f"observation {index[0] + 1}" if index else "the observations"
            if isinstance(value, str | bytes | bool | np.bool_ | complex | np.datetime64 | np.timedelta64):
                raise InputError(f"{place} is {value!r:.40}; the observations are not numbers; {remedy}")
            try:
                float(value)
            except OverflowError:
                raise InputError(f"{place} is an integer too large for a float; rescale the data") from None
            except (TypeError, ValueError):
                raise InputError(f"{place} is {value!r:.40}; the observations are not numbers; {remedy}") from None
    return raw
