"""Which sds of linear response may be trusted: judged by densities whose sds are known."""

from __future__ import annotations

import numpy as np
import pymc as pm
from scipy.stats import lognorm

from models.advi import fit_dadvi, member, response_sds, response_trusted
from models.advi.fixed import FixedLoss, fixed_nodes, rest
from models.advi.shapes import MeanField
from models.advi.starts import Start
from models.targets import Posterior, from_model, mvnormal_mixture, normal_mixture
from models.targets.target import Target


def trusted(target: Target, sds: np.ndarray, **options: object) -> list[bool]:
    """Of the unknowns themselves."""
    fit = fit_dadvi(target, starts=4, draws=10, **options)  # type: ignore[arg-type]
    return response_trusted(target, fit, 0, lambda x: x, sds).tolist()


def test_right_sds_pass_and_wrong_ones_do_not() -> None:
    correlated = mvnormal_mixture([1], [[1.0, -2.0]], [[[1.0, 0.9], [0.9, 2.0]]])
    exact = np.sqrt([1.0, 2.0])
    assert trusted(correlated, exact) == [True, True]
    assert trusted(correlated, exact * [1.2, 1.0]) == [False, True]
    assert trusted(correlated, exact * [1.0, 0.8]) == [True, False]


def test_a_skew_scale_is_not_trusted_where_linear_response_errs() -> None:
    """A log-Normal of shape s: linear response has e^2 (v + v^2 / 2) for its variance, the density e^2 (exp v - 1)."""
    for shape, right in ((0.3, True), (1.5, False)):
        with pm.Model() as model:
            pm.LogNormal("s", 0, shape)
        target: Posterior = from_model(model)
        fit = fit_dadvi(target, starts=4, draws=10)

        def scale(x: np.ndarray, target: Posterior = target) -> np.ndarray:
            return target.natural(x)["s"][:, None]

        sds = response_sds(target, member(fit, 0), scale)
        assert (abs(sds[0] / lognorm.std(shape) - 1) < 0.15) == right
        assert response_trusted(target, fit, 0, scale, sds).tolist() == [right]


def test_nothing_is_trusted_of_one_optimum_among_several() -> None:
    target = normal_mixture([0.5, 0.5], [-6, 6], [1, 1])
    fit = fit_dadvi(target, starts=[Start("left", np.array([-6.0])), Start("right", np.array([6.0]))], draws=10)
    assert response_trusted(target, fit, 0, lambda x: x, np.ones(1)).tolist() == [False]
    alone = fit_dadvi(target, starts=[Start("left", np.array([-6.0]))], draws=10)
    assert response_trusted(target, alone, 0, lambda x: x, np.ones(1)).tolist() == [True]  # what no draw reaches


def test_a_direction_that_only_a_wide_prior_holds_is_at_rest_and_has_its_linear_response() -> None:
    """The data know a + b; the prior of each is 10 000 wide. Of a density that is flat along a - b there is none."""
    z = fixed_nodes(2, power=6)[0]
    for precision, kind in ((1e-8, "minimum"), (0.0, "flat direction")):

        def density(points: np.ndarray, precision: float = precision) -> tuple[np.ndarray, np.ndarray]:
            hessian = np.ones((2, 2)) * 3 + precision * np.eye(2)
            return -0.5 * np.einsum("ni,ij,nj->n", points, hessian, points), -points @ hessian

        shape = MeanField(2)
        loss = FixedLoss(density, shape, z)  # type: ignore[arg-type]
        found = rest(loss, shape.at(np.zeros(2), np.full(2, 1 / np.sqrt(3 + precision))))
        assert found.kind == kind
        if kind == "minimum":
            assert found.inverse is not None
            exact = np.linalg.inv(np.ones((2, 2)) * 3 + precision * np.eye(2))
            np.testing.assert_allclose(found.inverse[:2, :2], exact, rtol=1e-4)
