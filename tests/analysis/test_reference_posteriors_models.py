"""Models of posteriordb against the draws that Stan made of the same posteriors.

For draws of p the score has mean zero, and E[x_i d log p / d x_j] is minus one where i is j and zero elsewhere (Stein): a density that is another
one than Stan's, in a prior, a transform or a Jacobian, has neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytest
from scipy.special import expit, logit, logsumexp

from analysis.reference_posteriors.posteriors import CASES, Case, entries
from models.graphs import compile_graph
from models.targets import Target, from_model

pytestmark = pytest.mark.exhaustive
Array = np.ndarray[Any, Any]
EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
DRAWS = Path(__file__).parents[1] / "reference" / "posteriordb_draws.npz"


def natural_draws(case: Case) -> dict[str, Array]:
    """Every tenth draw of Stan by variable of the model."""
    with np.load(DRAWS) as stored:
        draws = stored["low_dim_gauss_mix-unordered" if case.switched else case.entry].astype(float)
    columns: dict[str, list[Array]] = {}
    for name, column in zip(case.reference.names, draws.T, strict=True):
        columns.setdefault(name.partition("[")[0], []).append(column)
    scalar = {name for name in case.reference.names if "[" not in name}
    found = {name: c[0] if name in scalar else np.column_stack(c) for name, c in columns.items()}
    if case.key == "schools":
        found["theta_trans"] = (found["theta"] - found["mu"][:, None]) / found["tau"][:, None]
    return found


def on_the_line(model: pm.Model, draws: dict[str, Array]) -> Array:
    """Draws (n, d) in unconstrained space, by the formulas of the transforms that PyMC names."""
    columns = []
    for variable in model.value_vars:
        name, transform = str(variable.name), ""
        if name.endswith("__"):
            name, _, transform = name.removesuffix("__").rpartition("_")
        x = draws[name]
        match transform:
            case "":
                y = x
            case "log":
                y = np.log(x)
            case "logodds":
                y = logit(x)
            case "interval":  # 0 < beta1 < 1 - alpha1
                y = logit(x / (1 - draws["alpha1"]))
            case "ordered":
                y = np.column_stack([x[:, :1], np.log(np.diff(x))])
            case other:
                raise AssertionError(f"a transform of which this test knows nothing: {other}")
        columns.append(y.reshape(len(y), -1))
    return np.concatenate(columns, axis=1)


def density(target: Target) -> Callable[[Array], tuple[Array, Array]]:
    """Log densities (n,) and scores (n, d) at points (n, d)."""
    points = pytensor.tensor.matrix("points")
    _, values = target.graph(points)
    function = compile_graph([points], [values, pytensor.grad(values.sum(), points)])

    def evaluate(x: Array) -> tuple[Array, Array]:
        parts = [function(x[i : i + 100]) for i in range(0, len(x), 100)]
        return np.concatenate([v for v, _ in parts]), np.concatenate([s for _, s in parts])

    return evaluate


def columns_of(values: Mapping[str, Array], names: list[str]) -> Array:
    """Values of variables as columns (n, p), in the order of the reference's names."""
    variables = dict.fromkeys(name.partition("[")[0] for name in names)
    return np.concatenate([values[name].reshape(len(values[name]), -1) for name in variables], axis=1)


def largest_z(x: Array, score: Array) -> float:
    """How many standard errors the mean score and Stein's matrix are from what they are for draws of p, at most."""
    terms = (x - x.mean(axis=0))[:, :, None] * score[:, None, :] + np.eye(x.shape[1])
    z = [a.mean(axis=0) / (a.std(axis=0, ddof=1) / np.sqrt(len(x))) for a in (score, terms)]
    return float(max(np.abs(part).max() for part in z))


@EVERY
def test_the_score_is_that_of_the_posterior_stan_drew_from(case: Case) -> None:
    model = case.model()
    x = on_the_line(model, natural_draws(case))
    values, score = density(from_model(model))(x)
    assert np.isfinite(values).all()
    assert largest_z(x, score) < 4.0


#: One tail of the funnel of the centred schools is too long for importance sampling from about its draws.
SAMPLED = [case for case in CASES if not case.switched and case.key != "schools_centred"]


@pytest.mark.parametrize("case", SAMPLED, ids=lambda case: case.key)
def test_importance_sampling_finds_the_moments_of_all_draws(case: Case) -> None:
    model, reference = case.model(), case.reference
    target, x = from_model(model), on_the_line(model, natural_draws(case))
    rng, n, nu = np.random.default_rng(1), 1500, 8
    factor = np.linalg.cholesky(np.cov(x.T))
    z = rng.standard_normal((n, target.dim)) / np.sqrt(rng.chisquare(nu, (n, 1)) / nu)
    points = x.mean(axis=0) + z @ factor.T
    log_w = density(target)(points)[0] + (nu + target.dim) / 2 * np.log1p((z**2).sum(axis=1) / nu)
    w = np.exp(log_w - logsumexp(log_w))
    natural = target.natural(points)
    assert natural is not None
    flat = columns_of(natural, reference.names)
    mean = w @ flat
    error = np.sqrt(w**2 @ (flat - mean) ** 2)
    assert np.all(error < 0.15 * reference.sd)
    assert np.all(np.abs(mean - reference.mean) < 4 * np.hypot(error, reference.mcse))
    np.testing.assert_allclose(np.sqrt(w @ (flat - mean) ** 2) / reference.sd, 1, atol=0.2)


def test_another_model_is_seen() -> None:
    """What the test above would say of a prior that is uniform given the other parameter, and not flat."""
    case = next(c for c in CASES if c.key == "garch")
    model = case.model()
    x, target = on_the_line(model, natural_draws(case)), from_model(model)
    _, score = density(target)(x)
    wrong = score.copy()
    wrong[:, 2] += expit(x[:, 2])  # of -log(1 - alpha1)
    assert largest_z(x, score) < 4 < largest_z(x, wrong)


def test_references_have_the_moments_of_the_draws() -> None:
    for case in CASES:
        draws, reference = natural_draws(case), case.reference
        flat = columns_of(draws, reference.names)
        np.testing.assert_allclose((flat.mean(axis=0) - reference.mean) / reference.sd, 0, atol=0.15)
        np.testing.assert_allclose(flat.std(axis=0) / reference.sd, 1, atol=0.15)
        assert reference.modes.shape == (1 + case.switched, len(reference.names))


def test_labels_the_other_way_round_are_a_second_mode() -> None:
    case = next(c for c in CASES if c.switched)
    one, other = case.reference.modes
    np.testing.assert_allclose(other, [one[1], one[0], one[3], one[2], 1 - one[4]])
    np.testing.assert_allclose(case.reference.mean, (one + other) / 2)
    model = case.model()
    logp, x = density(from_model(model)), on_the_line(model, natural_draws(case))[:50]
    np.testing.assert_allclose(logp(x)[0], logp(x[:, [1, 0, 3, 2, 4]] * [1, 1, 1, 1, -1])[0], rtol=1e-10)


def test_every_entry_says_where_it_is_from() -> None:
    assert {case.entry for case in CASES} == set(entries())
    for entry in entries().values():
        assert entry["source"].startswith("stan-dev/posteriordb@")
        assert "BSD 3-Clause" in entry["licence"]
