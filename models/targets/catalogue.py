"""The targets of the study, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from models.errors import lookup_error
from models.targets.constructors import from_distribution, mvnormal_mixture, normal_mixture, student_t_mixture
from models.targets.target import Target

__all__ = ["TARGETS", "find_target"]


class _Catalogue(Mapping[str, Target]):
    """Targets by name, each built when first asked for."""

    def __init__(self, builders: Mapping[str, Callable[[], Target]]) -> None:
        self._builders = dict(builders)
        self._built: dict[str, Target] = {}

    def __getitem__(self, name: str) -> Target:
        if name not in self._built:
            self._built[name] = self._builders[name]()
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._builders)

    def __len__(self) -> int:
        return len(self._builders)


#: The targets of the study. A new target is one more entry.
TARGETS: Mapping[str, Target] = _Catalogue(
    {
        "bimodal": lambda: normal_mixture([0.5, 0.5], [-3, 3], [1, 1], name="bimodal"),
        "unequal": lambda: normal_mixture([0.3, 0.7], [-2, 2], [0.5, 1.0], name="unequal"),
        "trimodal": lambda: normal_mixture([1 / 3, 1 / 3, 1 / 3], [-6, 0, 6], [1, 1, 1], name="trimodal"),
        "heavy_tailed": lambda: student_t_mixture([0.5, 0.5], [-4, 4], [1, 1], [4, 4], name="heavy_tailed"),
        "crossed": lambda: mvnormal_mixture(
            [0.5, 0.5], [[-1.5, -1.5], [1.5, 1.5]], [[[1, 0.7], [0.7, 1]], [[1, -0.7], [-0.7, 1]]], name="crossed"
        ),
        "claw": lambda: normal_mixture([0.5, *[0.1] * 5], [0, -1, -0.5, 0, 0.5, 1], [1, *[0.1] * 5], name="claw"),
        "student_t": lambda: from_distribution("StudentT", {"nu": 4, "mu": 0, "sigma": 1}, label="student_t"),
    }
)


def find_target(name: str) -> Target:
    """Look a target up in the catalogue.

    Raises
    ------
    InputError
        If there is none of that name; the nearest names are given.
    """
    if name not in TARGETS:
        raise lookup_error("target", name, TARGETS)
    return TARGETS[name]
