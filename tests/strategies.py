"""Random targets for property tests: always two components, so that all examples share one compiled graph."""

from __future__ import annotations

from hypothesis import strategies as st

from models.targets import Target, normal_mixture

MEANS = st.floats(-6, 6)
SDS = st.floats(0.3, 3)
WEIGHTS = st.floats(0.05, 0.95)


@st.composite
def mixtures(draw: st.DrawFn) -> Target:
    """Mixtures of two Normals in one dimension."""
    w = draw(WEIGHTS)
    return normal_mixture([w, 1 - w], [draw(MEANS), draw(MEANS)], [draw(SDS), draw(SDS)])


@st.composite
def normals(draw: st.DrawFn) -> Target:
    """Normal distributions in one dimension."""
    return normal_mixture([1], [draw(MEANS)], [draw(SDS)])


#: Slopes of an affine map: both signs, away from 0.
SLOPES = st.builds(lambda size, sign: size * sign, st.floats(0.2, 5), st.sampled_from([-1, 1]))


def affine(target: Target, a: float, b: float) -> Target:
    """Return the law of a x + b where x follows a Normal mixture in one dimension."""
    spec = target.spec
    means = [a * m + b for m in spec["means"]]
    return normal_mixture(spec["weights"], means, [abs(a) * s for s in spec["sds"]])
