"""Mean field and full rank: closed forms by unrelated routes, exact optima by symmetry, and what is said about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize

from analysis.drawing.marks import outline
from analysis.judged import Normals
from analysis.mean_field_vs_full_rank import findings as said
from analysis.mean_field_vs_full_rank import normals, shapes
from analysis.mean_field_vs_full_rank import study as question
from analysis.mean_field_vs_full_rank.figures import plot
from analysis.mean_field_vs_full_rank.findings import TOLERANCE
from analysis.mean_field_vs_full_rank.normals import NORMALS, Normal
from analysis.mean_field_vs_full_rank.shapes import SHAPES, Shape
from analysis.mean_field_vs_full_rank.study import Settings
from analysis.site.chapter import words_of
from models.advi import METHODS
from models.divergences import alpha_divergence, kl
from models.families import FAMILIES
from models.projections import minima, reverse_projections
from models.results import load, save
from models.targets import mvnormal_mixture, normal_mixture
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages

mpl.use("Agg")
pytestmark = pytest.mark.exhaustive

Array = np.ndarray[Any, Any]
SETTINGS = Settings(
    n=500,
    normal_starts=2,
    starts=5,
    exact=1,
    separations=3,
    curve=9,
    rounds=6,
    seed=3,
)
DIRECTIONS: tuple[Literal["reverse", "forward"], ...] = ("reverse", "forward")


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return computed(question, SETTINGS)


@pytest.fixture(scope="module")
def found(results: xr.DataTree) -> dict[str, Any]:
    return said.findings(results)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def uneven(dim: int, seed: int = 0) -> Array:
    """A covariance without any symmetry."""
    factor = np.random.default_rng(seed).normal(size=(dim, dim)) + np.eye(dim)
    return factor @ factor.T


def text_of(found: dict[str, Any], **changed: Any) -> str:
    return words_of("mean_field_vs_full_rank", found | changed).text


def optima(results: xr.DataTree, name: str) -> xr.Dataset:
    data = results[f"{name}/optima"].to_dataset()
    data = data.isel(point=np.flatnonzero(data["status"].astype(str).str.endswith("minimum")))
    cov = data["cov"].to_numpy() if "cov" in data else data["sigma"].to_numpy()[:, :, None] ** 2 * np.eye(2)
    names = {"kl": ("point", data["divergence"].to_numpy()), "mean": (("point", "dim"), data["mu"].to_numpy())}
    return xr.Dataset(names | {"cov": (("point", "dim", "other"), cov)})


def kl_normals(mean: Array, cov: Array, other_mean: Array, other_cov: Array) -> float:
    return float(Normals(mean[None], cov[None]).kl(Normals(other_mean[None], other_cov[None]))[0, 0])


# --- closed forms ----------------------------------------------------------------------------------------------------


def test_kl_of_normals_is_that_by_quadrature_and_has_a_direction() -> None:
    cov, other, shift = uneven(2), np.diag([0.2, 5.0]), np.array([0.3, -0.5])
    p = mvnormal_mixture([1], [[0, 0]], [cov])
    q = FAMILIES["mvnormal_diag"].member({"mu": shift, "sigma": np.sqrt(np.diag(other))})
    forward, reverse = (kl_normals(*a, *b) for a, b in
                        (((np.zeros(2), cov), (shift, other)), ((shift, other), (np.zeros(2), cov))))  # fmt: skip
    assert forward == pytest.approx(kl(p, q).value, abs=1e-10)
    assert reverse == pytest.approx(kl(q, p).value, abs=1e-10)
    assert abs(forward - reverse) > 0.1


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_factorised_optimum_is_where_descent_ends(direction: Literal["reverse", "forward"]) -> None:
    cov, zero = uneven(4), np.zeros(4)

    def divergence(logs: Array) -> float:
        pair = ((zero, np.diag(np.exp(logs))), (zero, cov))
        first, second = pair if direction == "reverse" else pair[::-1]
        return kl_normals(*first, *second)

    best = minimize(divergence, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(np.exp(best.x), normals.factorised(cov, float(direction == "forward")), rtol=1e-5)
    assert best.fun == pytest.approx(normals.factorised_kl(cov, direction), abs=1e-9)


def test_kl_is_the_entropy_that_is_missing_or_too_much() -> None:
    cov = uneven(5, seed=1)
    entropy = stats.multivariate_normal(cov=cov).entropy()
    for direction, alpha, sign in (("reverse", 0.0, 1), ("forward", 1.0, -1)):
        fit = stats.multivariate_normal(cov=np.diag(normals.factorised(cov, alpha))).entropy()
        assert normals.factorised_kl(cov, direction) == pytest.approx(sign * (entropy - fit), abs=1e-10)


def test_in_two_dimensions_both_directions_cost_the_same() -> None:
    cov = normals.chain(2, 0.9)
    for direction in DIRECTIONS:
        assert normals.factorised_kl(cov, direction) == pytest.approx(-0.5 * np.log(1 - 0.81), abs=1e-12)
    three = np.full((3, 3), 0.9) + 0.1 * np.eye(3)
    assert normals.factorised_kl(three, "forward") > normals.factorised_kl(three, "reverse") + 0.1


@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.5, 0.8])
def test_alpha_of_the_pair_solves_a_quadratic(alpha: float) -> None:
    """a L v² + L (1 - 2a) v - (1 - a) = 0 with L = 1 / (1 - r²)."""
    r = 0.9
    discriminant = (1 - 2 * alpha) ** 2 + 4 * alpha * (1 - alpha) * (1 - r**2)
    expected = (2 * alpha - 1 + np.sqrt(discriminant)) / (2 * alpha)
    np.testing.assert_allclose(normals.factorised(normals.chain(2, r), alpha), expected, rtol=1e-9)
    if alpha == 0.5:
        assert expected == pytest.approx(np.sqrt(1 - r**2))


def test_alpha_optimum_is_lowest_by_quadrature() -> None:
    cov = np.array([[2.0, 1.1], [1.1, 1.0]])
    p, best = mvnormal_mixture([1], [[0, 0]], [cov]), normals.factorised(cov, 0.3)

    def at(variances: Array) -> float:
        q = FAMILIES["mvnormal_diag"].member({"mu": np.zeros(2), "sigma": np.sqrt(variances)})
        return alpha_divergence(p, q, 0.3).value

    for step in np.array([[0.02, 0], [0, 0.02]]):
        up, middle, down = (at(best * np.exp(k * step)) for k in (1, 0, -1))
        assert min(up, down) > middle
        assert abs(up - down) < 0.1 * (up + down - 2 * middle)


def test_ends_of_alpha_are_the_two_directions() -> None:
    cov = uneven(3, seed=2)
    np.testing.assert_allclose(normals.factorised(cov, 1e-4), 1 / np.diag(np.linalg.inv(cov)), rtol=0.01)
    np.testing.assert_allclose(normals.factorised(cov, 1 - 1e-4), np.diag(cov), rtol=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_at_most_one_quantity_is_matched(seed: int) -> None:
    cov = uneven(4, seed)
    for alpha in (0.0, normals.entropy_alpha(cov), 1.0):
        ratios = np.array(normals.matched(cov, normals.factorised(cov, alpha)))
        assert (np.abs(ratios - 1) < 1e-6).sum() == 1


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_the_middle_is_flat_at_the_pitchfork(dim: int) -> None:
    """Reverse KL along the diagonal by adaptive quadrature and differences, without Stein's identity."""
    distance, sd = normals.pitchfork(dim)

    def objective(shift: float, s: float, a: float) -> float:
        # Only the coordinate along the diagonal meets log cosh; the others add to the quadratic part.
        def softened(z: float) -> float:
            y = a * abs(shift + s * z)
            return float((y + np.log1p(np.exp(-2 * y)) - np.log(2)) * stats.norm.pdf(z))

        return (
            -dim * np.log(s) + (dim * s**2 + shift**2) / 2 - quad(softened, -9, 9, points=[-shift / s], epsabs=1e-12)[0]
        )

    def curvature(a: float, s: float, h: float = 0.02) -> float:
        return (objective(h, s, a) - 2 * objective(0, s, a) + objective(-h, s, a)) / h**2

    slope = (objective(0, sd * 1.001, distance) - objective(0, sd / 1.001, distance)) / 0.002
    assert slope == pytest.approx(0, abs=1e-4)
    assert curvature(distance, sd) == pytest.approx(0, abs=1e-3)
    assert curvature(distance + 0.2, sd) < -0.05
    assert curvature(distance - 0.2, sd) > 0.05


def test_one_dimension_has_no_pitchfork() -> None:
    assert normals.pitchfork(1) == (np.inf, np.inf)


# --- correlated Normals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", NORMALS, ids=lambda c: c.name)
def test_theory_and_fits_agree(results: xr.DataTree, case: Normal) -> None:
    fits = results[f"{case.name}/fits"].to_dataset()
    theory = fits["variance"].sel(source="theory")
    np.testing.assert_allclose(theory.sel(direction="reverse"), 1 / np.diag(np.linalg.inv(case.cov)), rtol=1e-12)
    np.testing.assert_allclose(theory.sel(direction="forward"), 1)
    # Standard error of a variance from n draws: sqrt(2 / n), and there are up to 10 of them.
    fitted = fits["variance"].sel(source="fitted")
    assert np.abs(fitted.sel(direction="forward") - 1).max() < 4.5 * np.sqrt(2 / SETTINGS.n)
    np.testing.assert_allclose(fitted.sel(direction="reverse"), theory.sel(direction="reverse"), rtol=0.02)
    assert (fits["kl"].sel(source="fitted") > fits["kl"].sel(source="theory") - 1e-12).all()


def test_exact_projections_are_the_closed_forms(results: xr.DataTree, found: dict[str, Any]) -> None:
    rho = results["curves/rho_exact"].to_dataset()
    np.testing.assert_allclose(
        rho["sigma"] ** 2, 1 - np.repeat(rho["rho"].to_numpy()[:, None], 2, axis=1) ** 2, rtol=1e-9
    )
    np.testing.assert_allclose(rho["divergence"], -0.5 * np.log(1 - rho["rho"] ** 2), rtol=1e-9)
    half = results["curves/alpha_exact"].to_dataset()
    np.testing.assert_allclose(half["sigma"] ** 2, np.sqrt(1 - normals.RHO**2), rtol=1e-9)
    assert max(found["rho_difference"], found["alpha_difference"]) < 1e-8


@pytest.mark.parametrize("case", NORMALS, ids=lambda c: c.name)
@pytest.mark.parametrize("method", METHODS)
def test_runs_at_rest_are_near_the_optimum(results: xr.DataTree, case: Normal, method: str) -> None:
    runs = results[f"{case.name}/{method}"].to_dataset()
    there = runs.isel(run=np.flatnonzero(runs["at_rest"]))
    assert there.sizes["run"] > 0
    assert float(there["gap"].max()) < TOLERANCE
    assert float(there["sd_error"].max()) < 0.01


# --- shapes ----------------------------------------------------------------------------------------------------------


def test_moments_of_the_banana_are_those_of_its_draws() -> None:
    n = 40_000
    draws = pm.draw([shapes.banana()[v] for v in ("x", "y")], n, random_seed=1)
    mean, cov = shapes.moments_of_shape("banana")
    x = np.stack(draws, axis=1)
    assert np.all(np.abs(x.mean(axis=0) - mean) < 4 * x.std(axis=0) / np.sqrt(n))
    products = (x - mean)[:, :, None] * (x - mean)[:, None, :]
    assert np.all(np.abs(products.mean(axis=0) - cov) < 4 * products.std(axis=0) / np.sqrt(n))


@pytest.mark.parametrize("method", METHODS)
def test_banana_in_closed_form(results: xr.DataTree, method: str) -> None:
    """E q of the polynomial: s1² / 4 + 4 b² s1⁴ = 1 at m1 = 0, s2 = 1, and m2 = b (s1² - 4)."""
    (best,) = np.roots([4 * shapes.BEND**2, 0.25, -1])[np.roots([4 * shapes.BEND**2, 0.25, -1]) > 0]
    data = optima(results, f"banana_{method}")
    assert data.sizes["point"] == 1
    np.testing.assert_allclose(data["mean"][0], [0, shapes.BEND * (best - 4)], atol=1e-7)
    np.testing.assert_allclose(data["cov"][0], np.diag([best, 1]), atol=1e-7)
    # E_q of (y - b (x² - 4))² at the optimum is 1 + 2 b² s1⁴; log 2 is that of the sd of x.
    value = best / 8 + shapes.BEND**2 * best**2 - np.log(best) / 2 + np.log(2) + 0.5 - 1
    assert float(data["kl"][0]) == pytest.approx(value, abs=1e-9)


def test_full_rank_sees_two_modes_as_one_coordinate(results: xr.DataTree) -> None:
    a = shapes.DIAGONAL * np.sqrt(2)
    line = minima(reverse_projections(normal_mixture([0.5, 0.5], [-a, a], [1, 1]), FAMILIES["normal"]))
    data = optima(results, "two_modes_fullrank_advi")
    np.testing.assert_allclose(np.sort(data["kl"]), sorted(p.divergence.value for p in line), atol=1e-6)
    assert data.sizes["point"] == optima(results, "two_modes_advi").sizes["point"] + 1


def test_minima_of_the_ring_are_images_of_one_another(results: xr.DataTree) -> None:
    """A quarter turn maps the ring and mean field to themselves, a twelfth of a turn the ring and full rank."""
    for method, turn in (("advi", np.pi / 2), ("fullrank_advi", np.pi / 6)):
        data = optima(results, f"ring_{method}")
        means, kls = data["mean"].to_numpy(), data["kl"].to_numpy()
        c, s = np.cos(turn), np.sin(turn)
        for mean, value in zip(means @ np.array([[c, s], [-s, c]]), kls, strict=True):
            near = np.linalg.norm(means - mean, axis=1) < 1e-3
            assert np.any(near & (np.abs(kls - value) < 1e-6)), (method, mean)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_no_run_is_below_its_optimum(results: xr.DataTree, shape: Shape) -> None:
    for method in METHODS:
        runs = results[f"{shape.name}_{method}/runs"].to_dataset()
        gaps, rest = runs["gap"].to_numpy(), runs["at_rest"].to_numpy()
        assert gaps.min() > -1e-6
        assert rest.any() or (shape.name, method) == ("ring", "fullrank_advi")  # whose arcs are a flat valley
        assert gaps[rest].max(initial=0.0) < TOLERANCE


def test_full_rank_is_never_worse(found: dict[str, Any]) -> None:
    for shape in SHAPES:
        assert found["shapes"][shape.name]["gain"] > -1e-7  # of the two searches, where both end at the same member


# --- findings and figures --------------------------------------------------------------------------------------------


def test_middle_is_lost_where_theory_says(results: xr.DataTree, found: dict[str, Any]) -> None:
    p, critical = found["pitchfork"], normals.pitchfork(2)[0]
    assert p["stable_to"] < critical < p["unstable_from"]
    assert p["agrees"]
    assert "on either side of the predicted value" in text_of(found)
    moved = results["pitchfork"].copy(deep=True)
    moved["theory/separation"] = moved["theory/separation"] + 5
    assert "does not explain" in text_of(found, pitchfork=said.pitchfork(moved))


def test_gains_follow_the_numbers(results: xr.DataTree, found: dict[str, Any]) -> None:
    tree = results.copy(deep=True)
    tree["banana_fullrank_advi/optima/divergence"] = tree["banana_fullrank_advi/optima/divergence"] - 0.3
    shape = next(s for s in SHAPES if s.name == "banana")
    assert found["shapes"]["banana"]["nothing"]
    assert "full rank gains nothing" in text_of(found, shapes={"banana": found["shapes"]["banana"]})
    assert "full rank gains 0.300 nats" in text_of(found, shapes={"banana": said.shape_findings(tree, shape)})


def test_no_run_that_converged_is_said(found: dict[str, Any]) -> None:
    runs = xr.Dataset({"gap": ("run", np.full(3, np.nan)), "at_rest": ("run", [False] * 3)})
    missed = said.full_rank({"pair": runs})
    assert not missed["exact"]
    assert "On the pair none of 3 runs came to rest." in text_of(found, full_rank=missed)


def test_findings_are_complete(found: dict[str, Any]) -> None:
    assert len(words_of("mean_field_vs_full_rank", found).answer) > 100
    assert len(found["normals"]) == 4
    assert len(found["searches"]) == 2 * len(SHAPES)
    assert found["runs"] == 2 * len(SHAPES) * SETTINGS.starts
    assert [row["dim"] for row in found["pitchforks"]] == [2, 3, 5, 10]
    assert found["matched"]["pair"] == pytest.approx(0.5, abs=1e-6)


def test_results_survive_a_file(results: xr.DataTree, tmp_path: Any) -> None:
    assert load(save(results, tmp_path / "results.nc")).equals(results)


def test_figures_are_light_and_dark_and_have_words(results: xr.DataTree, found: dict[str, Any]) -> None:
    check_drawings(lambda theme: plot(results, theme=theme), words_of("mean_field_vs_full_rank", found))


def test_figures(results: xr.DataTree) -> None:
    drawings = plot(results)
    assert set(drawings) == {"normals", "alphas", "pitchfork", "shapes"}
    axes = drawings["shapes"].figure.viz["figure"].item().axes
    assert len(axes) == 2 * len(SHAPES)
    lines = [line for line in axes[0].lines if len(line.get_xdata()) == 61]
    assert len(lines) == 1 + optima(results, "two_modes_advi").sizes["point"]


def test_ellipses_hold_what_they_say() -> None:
    cov, mean = uneven(2), np.array([1.0, -2.0])
    away = outline(mean, cov) - mean
    squared = np.einsum("ni,ij,nj->n", away, np.linalg.inv(cov), away)
    np.testing.assert_allclose(stats.chi2(2).cdf(squared), 0.9, rtol=1e-12)


# --- settings --------------------------------------------------------------------------------------------------------


def test_effort_orders_the_work() -> None:
    quick, default, full = (Settings.preset(effort, 7) for effort in ("quick", "default", "full"))
    assert quick.seed == default.seed == full.seed == 7
    for name in ("n", "normal_starts", "starts", "exact", "separations", "curve"):
        assert getattr(quick, name) < getattr(default, name) < getattr(full, name)
    assert default == Settings(seed=7)


def test_runs_in_a_flat_valley_are_told_as_they_are(found: dict[str, Any]) -> None:
    ring = found["shapes"]["ring"] | {"axes_matter": True, "valley": True}
    runs = ring["fullrank_advi"] | {
        "barrier": 6e-4,
        "runs": 16,
        "others": 15,
        "others_gap": 0.00059,
        "others_sd": 0.2,
    }
    text = text_of(found, shapes={"ring": ring | {"fullrank_advi": runs}})
    assert "15 of 16 full-rank runs are not at rest" in text
    assert "up to 20% off." in text
    text = text_of(found, shapes={"ring": ring | {"fullrank_advi": runs | {"others": 0}}})
    assert "are not at rest" not in text
    assert "nats, which is about as much as" in text


def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: plot(results, backend="plotly"), tmp_path)
