"""A model with two modes, fitted at each of them, and the weights by which the fits predict."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import arviz as az
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from analysis.diagnosing_missed_modes.repair import members_of
from analysis.reading import case_of, dataset_of
from models.advi import METHODS, Schedule, combine, fit_advi, optima
from models.graphs import Deferred, compile_graph
from models.targets import from_model

# Imported when something is computed with them: drawing needs neither.
if TYPE_CHECKING:
    import pymc as pm
    import pytensor
else:
    pm = Deferred("pymc")
    pytensor = Deferred("pytensor")

Array = NDArray[np.float64]


def cauchy_model(y: Array) -> pm.Model:
    """Location of a Cauchy: with observations around two places, one mode at each."""
    with pm.Model(model=None) as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Cauchy("y", mu, 1, observed=pm.Data("observed", y))
    return model


def cauchy_data(n: int, rng: np.random.Generator) -> Array:
    """Draws of ½ Cauchy(-10, 1) + ½ Cauchy(10, 1)."""
    return np.asarray(10 * rng.choice([-1, 1], n) + rng.standard_cauchy(n))


#: Observations.
N = 100


def pointwise(model: pm.Model) -> Callable[[Array], Array]:
    """Compile the log likelihood of each observation: points (n, d) in unconstrained space to (n, observations)."""
    graph = model.logp(vars=model.observed_RVs, jacobian=False, sum=False)
    outputs, point = pm.pytensorf.join_nonshared_inputs(
        point=model.initial_point(), outputs=graph, inputs=model.value_vars
    )
    points = pytensor.tensor.matrix("points")
    function = compile_graph([points], pytensor.graph.vectorize_graph(outputs[0], {point: points}))

    def evaluate(x: Array) -> Array:
        return np.concatenate([np.asarray(function(part)) for part in np.array_split(x, max(1, len(x) // 50))])

    return evaluate


def run_prediction(seed: int, starts: int, draws: int, schedule: Schedule, held_out: int) -> xr.DataTree:
    """Fit one Cauchy to draws from two at each of its modes, and weight the fits by ELBO and by leave-one-out prediction.

    Parameters
    ----------
    seed, starts, draws : int
    schedule : Schedule
    held_out : int
        New observations.

    Returns
    -------
    xarray.DataTree
        ``members`` over ``member``: place, ELBO, the weights ``softmax``, ``reverse`` (best reverse KL) and ``stacking``, the
        expected log predictive density ``elpd_loo``, largest Pareto ``k``; ``scores`` over ``rule``: mean log
        predictive density of new observations, and its difference from the best single fit; ``density`` over x of the next
        observation by each rule; ``observed_data``.
    """
    rng = np.random.default_rng([seed, 21])
    y, new = cauchy_data(N, rng), cauchy_data(held_out, rng)
    model = cauchy_model(y)
    target, likelihood = from_model(model), pointwise(model)
    fit = fit_advi(target, starts=starts, seed=seed, schedule=schedule, draws=draws)
    found, members = optima(fit), members_of(fit, METHODS[fit.attrs["method"]])
    fits = [_with_likelihood(case_of(fit, f"optimum_{k}"), likelihood) for k in range(len(members))]
    elpds = {f"fit {k}": _loo(data, dataset_of(fit, f"optimum_{k}/sample_stats")) for k, data in enumerate(fits)}
    combined = combine(target, members, seed=seed)
    weights = {
        "best single fit": np.eye(len(members))[0],
        "softmax of ELBOs": combined.separated,
        "best reverse KL": combined.weights,
        "stacking": _stacked(elpds),
    }
    columns = {
        "mean": found["mean"].to_numpy()[:, 0],
        "elbo": found["elbo"].to_numpy(),
        "elbo_error": found["elbo_se"].to_numpy(),
        "softmax": combined.separated,
        "reverse": combined.weights,
        "stacking": weights["stacking"],
        "elpd_loo": [float(e.elpd) for e in elpds.values()],
        "largest_k": [float(np.max(e.pareto_k)) for e in elpds.values()],
    }
    x = np.linspace(-20, 20, 401)
    log_density = _predictive(fits, pointwise(cauchy_model(x)))
    return xr.DataTree.from_dict(
        {
            "observed_data": xr.Dataset({"y": ("observation", y)}),
            "members": xr.Dataset({key: ("member", column) for key, column in columns.items()}),
            "scores": _scores(_predictive(fits, pointwise(cauchy_model(new))), weights),
            "density": xr.Dataset(
                {rule: ("x", w @ np.exp(log_density)) for rule, w in weights.items()}, coords={"x": x}
            ),
        }
    )


def _with_likelihood(optimum: xr.DataTree, likelihood: Callable[[Array], Array]) -> xr.DataTree:
    posterior = optimum["posterior"].to_dataset()
    values = xr.Dataset({"y": (("chain", "draw", "observation"), likelihood(_points(posterior))[None])})
    return xr.DataTree.from_dict({"posterior": posterior, "log_likelihood": values})


def _points(posterior: xr.Dataset) -> Array:
    draws = posterior["mu"].to_numpy()[0]
    return np.asarray(draws.reshape(len(draws), -1))


def _loo(data: xr.DataTree, stats: xr.Dataset) -> Any:
    ratio = {name: stats[name].to_numpy().ravel() for name in ("log_p", "log_q")}
    with warnings.catch_warnings():  # the largest k is among the results
        warnings.filterwarnings("ignore", "Estimated shape parameter of Pareto", UserWarning)
        return az.loo_approximate_posterior(data, **ratio, pointwise=True)


def _stacked(elpds: dict[str, Any]) -> Array:
    """Weights of the fits by ArviZ."""
    if len(elpds) == 1:
        return np.ones(1)
    compared = az.compare(elpds, method="stacking", round_to="none")
    return np.asarray(compared.loc[list(elpds), "weight"].to_numpy(dtype=float))


def _predictive(fits: list[xr.DataTree], likelihood: Callable[[Array], Array]) -> Array:
    """Log predictive density (fits, observations) of the observations of a `pointwise` model."""
    rows = []
    for data in fits:
        x = _points(data["posterior"].to_dataset())
        thinned = x[:: max(1, len(x) // 200)]
        rows.append(logsumexp(likelihood(thinned), axis=0) - np.log(len(thinned)))
    return np.array(rows)


def _scores(log_new: Array, weights: dict[str, Array]) -> xr.Dataset:
    with np.errstate(divide="ignore"):  # weights of zero
        scores = np.array([logsumexp(log_new, axis=0, b=w[:, None]) for w in weights.values()])
    columns = {}
    for name, values in (("score", scores), ("gain", scores - scores[0])):
        columns[name] = ("rule", values.mean(axis=1))
        columns[f"{name}_error"] = ("rule", values.std(axis=1, ddof=1) / np.sqrt(log_new.shape[1]))
    return xr.Dataset(columns, coords={"rule": list(weights)})
