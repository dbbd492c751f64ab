"""How targets are made: of mixtures, of any PyMC distribution, of a PyMC model, of draws, or of their JSON description."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError
from models.graphs.distributions import Distribution
from models.graphs.named import distribution
from models.targets.checks import (
    check_angles,
    check_draws,
    check_names,
    cholesky,
    mixture_weights,
    numbers,
    positive,
    same_length,
)
from models.targets.minibatch import with_whole_data
from models.targets.target import Density, Discrete, Draws, Posterior, Target

__all__ = [
    "from_distribution",
    "from_draws",
    "from_model",
    "from_spec",
    "mvnormal_mixture",
    "normal_mixture",
    "student_t_mixture",
]

Array = NDArray[np.float64]


def _mixture_moments(w: Array, means: Array, covs: Array) -> tuple[Array, Array]:
    mean = w @ means
    centred = means - mean
    return mean, np.einsum("k,kij->ij", w, covs) + np.einsum("k,ki,kj->ij", w, centred, centred)


def normal_mixture(weights: ArrayLike, means: ArrayLike, sds: ArrayLike, *, name: str | None = None) -> Density:
    """Mixture of Normal distributions in one dimension.

    Parameters
    ----------
    weights, means, sds : array_like (k,)
        Weights (positive, summing to 1), means and standard deviations of the k components.
    name : str, optional

    Returns
    -------
    Target

    Raises
    ------
    InputError
        For weights that are not positive or do not sum to 1, sds that are not positive, unequal lengths, or values
        that are not finite.

    Examples
    --------
    >>> target = normal_mixture([0.5, 0.5], [-3, 3], [1, 1])
    >>> target.cov
    array([[10.]])
    """
    w, mu, sd = mixture_weights(weights), numbers(means, "means", 1), numbers(sds, "sds", 1)
    same_length(w, means=mu, sds=sd)
    positive(sd, "sds")
    mean, cov = _mixture_moments(w, mu[:, None], (sd**2)[:, None, None])
    if len(w) == 1:
        density = Distribution("normal", {"mu": mu[0], "sigma": sd[0]})
    else:
        density = Distribution("normal_mixture", {"w": w, "mu": mu, "sigma": sd})
    return Density(
        name=name or " + ".join(f"{a:.4g} N({b:.4g}, {c:.4g}²)" for a, b, c in zip(w, mu, sd, strict=True)),
        dim=1,
        distribution=density,
        mean=mean,
        cov=cov,
        scales=[(np.array([m]), np.array([[s]])) for m, s in zip(mu, sd, strict=True)],
        spec={"weights": w.tolist(), "means": mu.tolist(), "sds": sd.tolist()},
    )


def student_t_mixture(
    weights: ArrayLike, means: ArrayLike, scales: ArrayLike, nus: ArrayLike, *, name: str | None = None
) -> Density:
    """Mixture of Student-t distributions in one dimension, for tails heavier than Normal.

    Parameters
    ----------
    weights, means, scales, nus : array_like (k,)
        Weights, locations, scales (not standard deviations) and degrees of freedom of the k components.
    name : str, optional

    Returns
    -------
    Target
        ``mean`` and ``cov`` are absent where they do not exist (a nu <= 1, or <= 2).

    Raises
    ------
    InputError
        As for `normal_mixture`; also for nus that are not positive.
    """
    w, mu = mixture_weights(weights), numbers(means, "means", 1)
    s, nu = numbers(scales, "scales", 1), numbers(nus, "nus", 1)
    same_length(w, means=mu, scales=s, nus=nu)
    positive(s, "scales")
    positive(nu, "nus")
    mean = cov = None
    if np.all(nu > 2):
        mean, cov = _mixture_moments(w, mu[:, None], (s**2 * nu / (nu - 2))[:, None, None])
    elif np.all(nu > 1):
        mean = np.array([w @ mu])
    return Density(
        name=name
        or " + ".join(f"{a:.4g} t_{d:.3g}({b:.4g}, {c:.4g})" for a, b, c, d in zip(w, mu, s, nu, strict=True)),
        dim=1,
        distribution=Distribution("student_t_mixture", {"w": w, "nu": nu, "mu": mu, "sigma": s}),
        mean=mean,
        cov=cov,
        scales=[(np.array([m]), np.array([[b]])) for m, b in zip(mu, s, strict=True)],
        spec={"weights": w.tolist(), "means": mu.tolist(), "scales": s.tolist(), "nus": nu.tolist()},
    )


def mvnormal_mixture(weights: ArrayLike, means: ArrayLike, covs: ArrayLike, *, name: str | None = None) -> Density:
    """Mixture of multivariate Normal distributions.

    Parameters
    ----------
    weights : array_like (k,)
    means : array_like (k, d)
    covs : array_like (k, d, d)
        Covariances of the components, symmetric and positive definite.
    name : str, optional

    Returns
    -------
    Target

    Raises
    ------
    InputError
        As for `normal_mixture`; also for a covariance that is not symmetric and positive definite.
    """
    w, mu, cov = mixture_weights(weights), numbers(means, "means", 2), numbers(covs, "covs", 3)
    same_length(w, means=mu, covs=cov)
    if cov.shape[1:] != (mu.shape[1], mu.shape[1]):
        raise InputError(f"covs has shape {cov.shape} but means has shape {mu.shape}; covs must be (k, d, d)")
    chols = [cholesky(c, f"covs[{k}]") for k, c in enumerate(cov)]
    mean, total = _mixture_moments(w, mu, cov)
    d = mu.shape[1]
    if len(w) == 1:
        density = Distribution("mvnormal", {"mu": mu[0], "cov": cov[0]}, d)
    else:
        density = Distribution("mvnormal_mixture", {"w": w, "mu": mu, "cov": cov}, d)
    return Density(
        name=name or f"mixture of {len(w)} {d}-D Normals",
        dim=d,
        distribution=density,
        mean=mean,
        cov=total,
        scales=list(zip(mu, chols, strict=True)),
        spec={"weights": w.tolist(), "means": mu.tolist(), "covs": cov.tolist()},
    )


def from_distribution(name: str, params: Mapping[str, Any], *, label: str | None = None) -> Density | Discrete:
    """Any univariate PyMC distribution, continuous or discrete, by PyMC's name and parameters.

    Parameters
    ----------
    name : str
        For example ``"StudentT"``.
    params : mapping
        For example ``{"nu": 4, "mu": 0, "sigma": 1}``.
    label : str, optional
        Name to show.

    Returns
    -------
    Target
        ``mean`` and ``cov`` are given for Normal, Laplace and Student-t laws where they exist; otherwise absent.

    Raises
    ------
    InputError
        If PyMC does not know the distribution or a parameter, or refuses the values.
    """
    density = distribution(name, params)
    quantiles = density.quantiles
    width = max(float(quantiles[4] - quantiles[2]) / 2, np.finfo(float).tiny)
    if quantiles[0] == quantiles[-1] != 0 and not density.discrete:
        raise InputError(
            f"{name} with params {dict(params)!r} has no width beside {quantiles[0]:g} that a float can hold; rescale it"
        )
    mean, cov = _moments_by_pymc(name, density)
    text = ", ".join(f"{k}={np.asarray(v).tolist()}" for k, v in density.params.items())
    return (Discrete if density.discrete else Density)(
        name=label or f"{name}({text})",
        dim=1,
        distribution=density,
        mean=mean,
        cov=cov,
        scales=[(np.array([quantiles[3]]), np.array([[width]]))],
        spec={"distribution": name, "params": {k: np.asarray(v).tolist() for k, v in density.params.items()}},
    )


def _moments_by_pymc(name: str, density: Distribution) -> tuple[Array | None, Array | None]:
    """Exact mean and variance for the location-scale laws that have them in one line; otherwise unknown."""
    p = {k: float(v) for k, v in density.params.items() if np.ndim(v) == 0}
    match name:
        case "Normal" if {"mu", "sigma"} <= p.keys():
            return np.array([p["mu"]]), _variance(p["sigma"])
        case "Laplace" if {"mu", "b"} <= p.keys():
            return np.array([p["mu"]]), _variance(p["b"], 2.0)
        case "StudentT" if {"nu", "mu", "sigma"} <= p.keys():
            mean = np.array([p["mu"]]) if p["nu"] > 1 else None
            cov = _variance(p["sigma"], p["nu"] / (p["nu"] - 2)) if p["nu"] > 2 else None
            return mean, cov
    return None, None


def _variance(scale: float, factor: float = 1.0) -> Array | None:
    """Scale squared times a factor, as a matrix (1, 1); none where a float cannot hold it."""
    found = np.square(np.float64(scale)) * factor if 1e-150 < scale < 1e150 else np.nan
    return np.array([[found]]) if np.isfinite(found) and found > 0 else None


def from_draws(x: ArrayLike, *, name: str = "draws") -> Draws:
    """Target known by draws only: it has no log density, and says so when asked.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
        Observations; at least two distinct ones, all finite.
    name : str

    Returns
    -------
    Target
        ``mean`` and ``cov`` are those of the draws (divisor n).

    Raises
    ------
    InputError
        For missing or infinite values, or fewer than two distinct observations.
    """
    draws = check_draws(x)
    mean = draws.mean(axis=0)
    cov = np.cov(draws.T, bias=True).reshape(draws.shape[1], draws.shape[1])
    return Draws(name=name, dim=draws.shape[1], draws=draws, mean=mean, cov=cov, spec={"draws": len(draws)})


def from_model(pm_model: Any, *, name: str = "posterior") -> Posterior:
    """Posterior of a PyMC model, in the unconstrained space where ADVI works.

    Parameters
    ----------
    pm_model : pymc.Model
        A model with continuous free variables. Of one with ``pm.Minibatch`` the whole data are taken.
    name : str

    Returns
    -------
    Target
        Its log density is the unnormalised posterior with the Jacobian of PyMC's transforms, so divergences are known
        up to the log evidence.

    Raises
    ------
    InputError
        If the model has discrete variables, angles or no variables, or a variable that is called as an axis of draws is.
    """
    if not pm_model.free_RVs:
        raise InputError("the PyMC model has no free variables; there is nothing to approximate")
    if pm_model.discrete_value_vars:
        raise InputError(_discrete([v.name for v in pm_model.discrete_value_vars]))
    check_names(pm_model)
    check_angles(pm_model)
    whole = with_whole_data(pm_model)
    start = np.concatenate([np.ravel(v) for v in whole.initial_point().values()])
    if not len(start):
        raise InputError(
            "the free variables of the PyMC model have no entries: their dims have length 0; give these labels, or a shape"
        )
    return Posterior(
        name=name,
        dim=len(start),
        scales=[(start.astype(float), np.eye(len(start)))],
        source=whole,
        spec={"model": name},
        batched=whole is not pm_model,
    )


def _discrete(names: Sequence[str]) -> str:
    """Why discrete unknowns are refused, and what their author can write instead."""
    missing = [
        n.removesuffix("_unobserved") for n in names if n.endswith("_unobserved")
    ]  # PyMC's name for what it imputes
    if missing:
        return (
            f"the PyMC model has discrete variables ({', '.join(names)}), for counts are missing among the observed values of "
            f"{', '.join(missing)}; leave these rows out: they add nothing to a posterior of the parameters"
        )
    package = "" if find_spec("pymc_extras") is not None else ", of the package pymc-extras,"
    return (
        f"the PyMC model has discrete variables ({', '.join(names)}), which have no density; marginalise them: write the likelihood as a sum over "
        f"their values (pm.Mixture), or, where they take finitely many, let pymc_extras.marginalize(model, {list(names)!r}){package} do that, "
        "and return what it returns"
    )


def from_spec(spec: Mapping[str, Any], *, name: str | None = None) -> Target:
    """Build a target from its JSON description.

    Parameters
    ----------
    spec : mapping
        ``{"weights", "means", "sds"}``, ``{"weights", "means", "covs"}``, ``{"weights", "means", "scales", "nus"}`` or
        ``{"distribution", "params"}``.

    Raises
    ------
    InputError
        If the keys fit none of these, or the values are refused.
    """
    builders: dict[frozenset[str], Callable[..., Target]] = {
        frozenset({"weights", "means", "sds"}): normal_mixture,
        frozenset({"weights", "means", "covs"}): mvnormal_mixture,
        frozenset({"weights", "means", "scales", "nus"}): student_t_mixture,
    }
    keys = frozenset(spec)
    if keys in builders:
        return builders[keys](**spec, name=name)
    if keys == {"distribution", "params"}:
        if not isinstance(spec["params"], Mapping):
            raise InputError(f"params is {spec['params']!r}; it must be an object of PyMC's parameters")
        return from_distribution(str(spec["distribution"]), spec["params"], label=name)
    forms = "; ".join(
        "{" + ", ".join(sorted(form)) + "}" for form in [*builders, frozenset({"distribution", "params"})]
    )
    raise InputError(f"a target has the keys {{{', '.join(sorted(keys))}}}; they must be one of: {forms}")
