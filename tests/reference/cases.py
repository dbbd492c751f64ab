"""The reference cases as this project's own targets and families."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.families import FAMILIES, Family, normal, normal_mixture, student_t
from models.targets import Target, from_distribution, mvnormal_mixture
from models.targets import normal_mixture as normal_mixture_target

Case = dict[str, Any]

CASES: list[Case] = json.loads(Path(__file__).with_name("oracle.json").read_text(encoding="utf-8"))


def case(name: str) -> Case:
    """Return the case of that id."""
    return next(c for c in CASES if c["id"] == name)


def of_kind(*kinds: str, projected: bool | None = None) -> Any:
    """Parametrise a test's ``case`` by all cases of these kinds, with or without a family to project onto."""
    chosen = [c for c in CASES if c["kind"] in kinds and projected in (None, "q_family" in c["inputs"])]
    assert chosen, f"no reference case of kind {kinds}"
    return pytest.mark.parametrize("case", chosen, ids=lambda c: c["id"])


def target(spec: dict[str, Any]) -> Target:
    """Build the target that a case describes."""
    match spec["family"]:
        case "normal":
            return normal_mixture_target([1], [spec["mu"]], [spec["sd"]])
        case "normal_mixture":
            return normal_mixture_target(spec["weights"], spec["means"], spec["sds"])
        case "mvnormal":
            return mvnormal_mixture([1], [spec["mean"]], [spec["cov"]])
        case "mvnormal_mixture":
            return mvnormal_mixture(spec["weights"], spec["means"], spec["covs"])
        case "studentt":
            return from_distribution("StudentT", {k: spec[k] for k in ("nu", "mu", "sigma")})
        case "laplace":
            return from_distribution("Laplace", {k: spec[k] for k in ("mu", "b")})
        case "skewnormal":
            return from_distribution("SkewNormal", {k: spec[k] for k in ("mu", "sigma", "alpha")})
        case "gamma":
            return from_distribution("Gamma", {"alpha": spec["shape"], "beta": spec["rate"]})
        case other:
            raise ValueError(f"no target for the reference family {other!r}")


def family(inputs: dict[str, Any]) -> Family:
    """Build the family that a case projects onto."""
    if inputs["q_family"] == "studentt":
        return student_t(inputs.get("fixed", {}).get("nu"))
    if inputs["q_family"] == "normal_fixed_sd":
        return normal(inputs["sd"])
    return {
        "normal": FAMILIES["normal"],
        "mvnormal": FAMILIES["mvnormal"],
        "exponential": FAMILIES["exponential"],
        "laplace": FAMILIES["laplace"],
        "skewnormal": FAMILIES["skew_normal"],
        "normal_mixture_2": normal_mixture(2),
        "full_rank_normal": FAMILIES["mvnormal"],
        "mean_field_normal": FAMILIES["mvnormal_diag"],
    }[inputs["q_family"]]
