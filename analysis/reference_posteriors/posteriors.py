"""Thirteen posteriors of posteriordb as PyMC models, with the moments that long runs of Stan found of them.

Variables have the names that Stan's have; where Stan counts ``beta[1]``, PyMC has ``beta[0]``. Data, moments, source and licence are in
``analysis/data/posteriordb``. Observations and predictors are ``pm.Data``, so that what is compiled does not hold them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.graphs import Deferred

# Imported when something is computed with them: drawing needs neither.
if TYPE_CHECKING:
    import pymc as pm
    import pytensor.tensor as pt
else:
    pm = Deferred("pymc")
    pt = Deferred("pytensor.tensor")

__all__ = ["CASES", "Case", "Reference", "entries"]

Array = NDArray[np.float64]
Data = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Reference:
    """Moments of a posterior on the natural scale, from 10 000 draws of Stan.

    Attributes
    ----------
    names : list of str
        Of the p parameters, as Stan writes them: ``mu``, ``beta[1]``, ...
    mean, sd, mcse : ndarray (p,)
        `mcse` is the Monte Carlo error of the mean.
    modes, mode_sd : ndarray (m, p)
        Means and standard deviations within each mode: those of the whole where there is one.
    """

    names: list[str]
    mean: Array
    sd: Array
    mcse: Array
    modes: Array
    mode_sd: Array

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Reference:
        """Read what an entry of posteriordb says."""
        mean, sd, mcse = (np.array(list(entry[key].values())) for key in ("mean", "sd", "mcse"))
        return cls(list(entry["mean"]), mean, sd, mcse, mean[None], sd[None])

    def switched(self, rows: Sequence[int], complement: int) -> Reference:
        """Return the reference with its labels also the other way round, each way with weight 1/2.

        Parameters
        ----------
        rows : sequence of int
            Which parameter takes the place of each.
        complement : int
            The one that becomes one minus itself.
        """
        other, error = self.mean[list(rows)], np.hypot(self.mcse, self.mcse[list(rows)]) / 2
        other[complement], error[complement] = 1 - other[complement], 0.0  # its mean is 1/2 exactly
        modes, mode_sd = np.stack([self.mean, other]), np.stack([self.sd, self.sd[list(rows)]])
        sd = np.sqrt((mode_sd**2).mean(axis=0) + modes.var(axis=0))
        return Reference(self.names, modes.mean(axis=0), sd, error, modes, mode_sd)


# --- models ----------------------------------------------------------------------------------------------------------


def _regression(y: Array, columns: Mapping[str, Array]) -> pm.Model:
    """Linear regression with flat priors, on the coefficients and on the standard deviation."""
    with pm.Model(coords={"term": list(columns)}, model=None) as model:
        X = pm.Data("X", np.column_stack(list(columns.values())), dims=("observation", "term"))
        beta = pm.Flat("beta", dims="term")
        sigma = pm.HalfFlat("sigma")
        pm.Normal("y", X @ beta, sigma, observed=pm.Data("observed", y, dims="observation"), dims="observation")
    return model


def earnings(data: Data) -> pm.Model:
    """Log earnings on height and sex, with their product."""
    height, male = np.asarray(data["height"], dtype=float), np.asarray(data["male"], dtype=float)
    columns = {"intercept": np.ones_like(height), "height": height, "male": male, "height:male": height * male}
    return _regression(np.log(data["earn"]), columns)


def mesquite(data: Data) -> pm.Model:
    """Weight of mesquite bushes on their dimensions, all in logs."""
    one, two, high = (np.array(data[key]) for key in ("diam1", "diam2", "canopy_height"))
    columns = {
        "intercept": np.ones_like(one),
        "log volume": np.log(one * two * high),
        "log area": np.log(one * two),
        "log shape": np.log(one / two),
        "log total height": np.log(data["total_height"]),
        "log density": np.log(data["density"]),
        "group": np.asarray(data["group"], dtype=float),
    }
    return _regression(np.log(data["weight"]), columns)


def election(data: Data) -> pm.Model:
    """Party identification on ideology and background, National Election Study 2000."""
    age = np.array(data["age_discrete"])
    columns = {"intercept": np.ones(len(age)), "ideology": np.array(data["real_ideo"], dtype=float),
               "race": np.array(data["race_adj"], dtype=float)}  # fmt: skip
    columns |= {f"age {k}": (age == k).astype(float) for k in (2, 3, 4)}
    columns |= {key: np.array(data[key], dtype=float) for key in ("educ1", "gender", "income")}
    return _regression(np.array(data["partyid7"], dtype=float), columns)


def kidiq(data: Data) -> pm.Model:
    """Children's test scores on the IQ of their mothers."""
    iq, score = (np.asarray(data[key], dtype=float) for key in ("mom_iq", "kid_score"))
    with pm.Model(coords={"term": ["intercept", "mother's IQ"]}, model=None) as model:
        beta = pm.Flat("beta", dims="term")
        sigma = pm.HalfCauchy("sigma", 2.5)
        pm.Normal("y", beta[0] + beta[1] * pm.Data("iq", iq), sigma, observed=pm.Data("observed", score))
    return model


def kilpisjarvi(data: Data) -> pm.Model:
    """Summer temperature at Kilpisjärvi on the year, which is not centred."""
    year, y = (np.asarray(data[key], dtype=float) for key in ("x", "y"))
    with pm.Model(model=None) as model:
        alpha = pm.Normal("alpha", data["pmualpha"], data["psalpha"])
        beta = pm.Normal("beta", data["pmubeta"], data["psbeta"])
        sigma = pm.HalfFlat("sigma")
        pm.Normal("y", alpha + beta * pm.Data("year", year), sigma, observed=pm.Data("observed", y))
    return model


def correlated_columns(data: Data) -> pm.Model:
    """Regression on five correlated columns, with priors that say next to nothing."""
    with pm.Model(model=None) as model:
        beta = pm.Normal("beta", 0, 10, shape=5)
        sigma = pm.HalfNormal("sigma", 10)
        X = pm.Data("X", np.array(data["X"]))
        pm.Normal("y", X @ beta, sigma, observed=pm.Data("observed", np.array(data["y"])))
    return model


def autoregression(data: Data) -> pm.Model:
    """Autoregression of order five, given the first five values."""
    y, order = np.array(data["y"]), 5
    lags = np.column_stack([y[order - k : len(y) - k] for k in range(1, order + 1)])
    with pm.Model(coords={"lag": np.arange(1, order + 1)}, model=None) as model:
        alpha = pm.Normal("alpha", 0, 10)
        beta = pm.Normal("beta", 0, 10, dims="lag")
        sigma = pm.HalfCauchy("sigma", 2.5)
        pm.Normal("y", alpha + pm.Data("lags", lags) @ beta, sigma, observed=pm.Data("observed", y[order:]))
    return model


def garch(data: Data) -> pm.Model:
    """GARCH(1, 1): a variance that follows the squares of the last deviations, the first given."""
    y = np.array(data["y"])
    with pm.Model(model=None) as model:
        mu = pm.Flat("mu")
        alpha0 = pm.HalfFlat("alpha0")
        # Together flat on the triangle alpha1 + beta1 < 1.
        alpha1 = pm.Beta("alpha1", 1, 2)
        beta1 = pm.Uniform("beta1", 0, 1 - alpha1)
        observed = pm.Data("observed", y)
        variance = pt.concatenate([np.array([data["sigma1"] ** 2]), alpha0 + alpha1 * (observed[:-1] - mu) ** 2])
        # v_t = c_t + beta1 v_(t-1), of which each turn sums twice as many terms.
        steps = 2 ** np.arange(int(np.ceil(np.log2(len(y)))))
        weights = beta1**steps
        for k, step in enumerate(steps):
            variance = pt.inc_subtensor(variance[step:], weights[k] * variance[:-step])
        pm.Normal("y", mu, pt.sqrt(variance), observed=observed)
    return model


def gaussian_process(data: Data) -> pm.Model:
    """Gaussian process with its length scale, height and the variance of the noise unknown."""
    x, y = (np.asarray(data[key], dtype=float) for key in ("x", "y"))
    with pm.Model(model=None) as model:
        rho = pm.Gamma("rho", 25, 4)
        alpha = pm.HalfNormal("alpha", 2)
        sigma = pm.HalfNormal("sigma", 1)
        cov = alpha**2 * pt.exp(-((x[:, None] - x) ** 2) / (2 * rho**2)) + sigma * np.eye(len(x))
        pm.MvNormal("y", np.zeros(len(x)), cov, observed=pm.Data("observed", y))
    return model


def _schools() -> Mapping[str, Sequence[str]]:
    return {"school": list("ABCDEFGH")}


def schools_centred(data: Data) -> pm.Model:
    """Eight schools, each effect drawn about the common mean."""
    with pm.Model(coords=_schools(), model=None) as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        theta = pm.Normal("theta", mu, tau, dims="school")
        pm.Normal(
            "y", theta, np.array(data["sigma"], dtype=float), observed=np.array(data["y"], dtype=float), dims="school"
        )
    return model


def schools_not_centred(data: Data) -> pm.Model:
    """Eight schools, each effect in units of the standard deviation between schools."""
    with pm.Model(coords=_schools(), model=None) as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        theta = pm.Deterministic("theta", mu + tau * pm.Normal("theta_trans", 0, 1, dims="school"), dims="school")
        pm.Normal(
            "y", theta, np.array(data["sigma"], dtype=float), observed=np.array(data["y"], dtype=float), dims="school"
        )
    return model


def _mixture(data: Data, mu: Callable[[], Any]) -> pm.Model:
    with pm.Model(model=None) as model:
        means = mu()
        sigma = pm.HalfNormal("sigma", 2, shape=2)
        theta = pm.Beta("theta", 5, 5)
        weights = pt.stack([theta, 1 - theta])
        pm.NormalMixture("y", weights, means, sigma, observed=pm.Data("observed", np.array(data["y"])))
    return model


def mixture_ordered(data: Data) -> pm.Model:
    """Two Normals, the left one first."""
    # A start that is in order: PyMC's own, the mean of the prior for both, is on the border.
    return _mixture(
        data, lambda: pm.Normal("mu", 0, 2, shape=2, transform=pm.distributions.transforms.ordered, initval=[-1.0, 1.0])
    )


def mixture(data: Data) -> pm.Model:
    """Two Normals, in either order."""
    return _mixture(data, lambda: pm.Normal("mu", 0, 2, shape=2))


# --- cases -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A posterior.

    Attributes
    ----------
    key : str
    entry : str
        Its name in posteriordb.
    title : str
    write : callable
        Makes the PyMC model from the data.
    switched : bool
        Whether the entry's two components are taken in either order: two modes of weight 1/2 each.
    """

    key: str
    entry: str
    title: str
    write: Callable[[Data], pm.Model]
    switched: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the entry."""
        return hashlib.sha256(json.dumps(entries()[self.entry], sort_keys=True).encode()).hexdigest()

    def model(self) -> pm.Model:
        """Build the PyMC model."""
        return self.write(entries()[self.entry]["data"])

    @property
    def reference(self) -> Reference:
        """What long runs of Stan found."""
        found = Reference.of(entries()[self.entry])
        return found.switched([1, 0, 3, 2, 4], complement=4) if self.switched else found


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Entries of posteriordb by name."""
    folder = files("analysis.data") / "posteriordb"
    found = [json.loads(f.read_text(encoding="utf-8")) for f in folder.iterdir() if f.name.endswith(".json")]
    return {entry["name"]: entry for entry in found}


CASES = (
    Case("gp", "gp_pois_regr-gp_regr", "Gaussian process", gaussian_process),
    Case("kidiq", "kidiq-kidscore_momiq", "test scores on IQ", kidiq),
    Case("kilpisjarvi", "kilpisjarvi_mod-kilpisjarvi", "temperature on year", kilpisjarvi),
    Case("garch", "garch-garch11", "GARCH(1, 1)", garch),
    Case("earnings", "earnings-logearn_interaction", "log earnings on height", earnings),
    Case("mixture_ordered", "low_dim_gauss_mix-low_dim_gauss_mix", "two Normals, ordered", mixture_ordered),
    Case("mixture", "low_dim_gauss_mix-low_dim_gauss_mix", "two Normals, either order", mixture, switched=True),
    Case("columns", "sblrc-blr", "correlated columns", correlated_columns),
    Case("autoregression", "arK-arK", "autoregression", autoregression),
    Case("mesquite", "mesquite-logmesquite_logvas", "mesquite bushes", mesquite),
    Case("schools_centred", "eight_schools-eight_schools_centered", "eight schools, centred", schools_centred),
    Case("schools", "eight_schools-eight_schools_noncentered", "eight schools, not centred", schools_not_centred),
    Case("election", "nes2000-nes", "party identification", election),
)
