"""The sentence about an approximation: its grade, and what it tells to do."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from models.own_model.verdict import Evidence, judge, wanting


def table(sd: float, shift: float, response: float, error: float = 0.01, mean_error: float = 0.01) -> xr.Dataset:
    dims = ("approximation", "variable")
    return xr.Dataset(
        {
            "sd": (dims, [[sd], [response]]),
            "sd_ratio": (dims, [[sd], [response]]),
            "mean_shift": (dims, [[shift], [0.0]]),
            "reference_sd": ("variable", [1.0]),
            "reference_sd_se": ("variable", [error]),
            "reference_mean_se": ("variable", [mean_error]),
        },
        coords={"approximation": ["ADVI", "linear response"], "variable": ["tau"]},
    )


def computed(data: xr.Dataset, *, lost: float = 0.0, same: bool = False) -> xr.Dataset:
    more = {"unknown": False, "reference_lost": lost, "same": same}
    return data.assign({name: ("variable", [value]) for name, value in more.items()})


def pair(a: xr.Dataset, b: xr.Dataset) -> xr.Dataset:
    if "unknown" in b:
        a = a.assign(
            {"unknown": ("variable", [True]), "reference_lost": ("variable", [0.0]), "same": ("variable", [False])}
        )
    return xr.concat([a, b], "variable").assign_coords(variable=["a", "b"])


def bounds(factor: float, shift: float) -> xr.Dataset:
    dims = ("optimum", "variable")
    return xr.Dataset({"sd_factor": (dims, [[factor]]), "mean_error": (dims, [[shift]])}, coords={"variable": ["tau"]})


def evidence(**changes: object) -> Evidence:
    plain = {
        "at_rest": True, "optimum_verdict": "at rest", "flattest": "a - b", "eigenvalue": 0.5, "cut": False, "starts": 33, "k_hat": 0.3, "k_hat_response": 0.2, "k_hat_repair": 0.2,
        "mixed": True, "saved": "mixture", "missed": (0.0, 0.0, 0.0), "images": None, "modes": 1, "covered": 1, "reference": "NUTS", "reasons": (),
        "comparison": table(1.0, 0.0, 1.0),
    }  # fmt: skip
    return Evidence(**(plain | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "grade", "words"),
    [
        (
            {},
            "adequate",
            "ADVI is adequate for its only variable, as far as 33 starts and the reference (NUTS) show: means within 0.2 sd, sds within 10 % of the "
            "reference$",
        ),
        (
            {"comparison": table(0.6, 0.0, 0.99)},
            "too narrow",
            "ADVI is too narrow; it underestimates the sd of tau by 40 %; linear response gives it an sd of 0.99 where the reference (NUTS) has 1$",
        ),
        ({"comparison": table(0.003, 0.0, 1.0)}, "too narrow", "it underestimates the sd of tau by a factor of 333;"),
        ({"comparison": table(0.15, 0.0, 1.0)}, "too narrow", "it underestimates the sd of tau by a factor of 6.7;"),
        ({"comparison": table(12.0, 0.0, 1.0)}, "cannot tell", "it overestimates the sd of tau by a factor of 12;"),
        (
            {"comparison": table(1.4, 0.0, 1.3)},
            "cannot tell",
            "ADVI is too wide; it overestimates the sd of tau by 40 %; linear response gives it an sd of 1.3 where the reference (NUTS) has 1: "
            "use the draws of the reference$",
        ),
        (
            {"comparison": table(1.0, 0.8, 1.0)},
            "cannot tell",
            "ADVI is off in the mean; it has the mean of tau off by 0.8 sds; linear response keeps the means: use the draws of the reference (NUTS)$",
        ),
        (
            {"comparison": table(0.6, 0.8, 1.0)},
            "too narrow",
            "ADVI is too narrow and off in the mean; it has the mean of tau off",
        ),
        (
            {"comparison": table(0.6, 0.3, 0.99)},
            "too narrow",
            "has 1, but it keeps the means: use the draws of the reference$",
        ),
        (
            {"comparison": table(0.6, 0.0, 0.99), "k_hat_response": 0.91},
            "too narrow",
            "has 1, but linear response's k-hat is 0.91: use the draws of the reference$",
        ),
        (
            {"comparison": pair(table(0.6, 0.3, 0.7), table(0.7, 0.0, 0.7)), "k_hat_response": 0.91},
            "too narrow",
            "within 10 % for 0 of 2 (linear response's k-hat is 0.91; it keeps the means): use the draws of the reference$",
        ),
        (
            {"comparison": pair(table(0.6, 0.0, 0.7), table(0.7, 0.0, 0.98))},
            "too narrow",
            "ADVI is too narrow for both variables; at worst it underestimates the sd of a by 40 %; linear response gives it an sd of 0.7 where the "
            "reference (NUTS) has 1, and is within 10 % for 1 of 2: for the others use the draws of the reference$",
        ),
        (
            {"comparison": pair(table(0.6, 0.0, 0.99), table(0.95, 0.0, 0.98))},
            "too narrow",
            "ADVI is too narrow for 1 of 2 variables; it underestimates",
        ),
        (
            {"comparison": pair(table(0.6, 0.0, 0.99), table(1.0, 0.5, 0.98))},
            "too narrow",
            "ADVI is too narrow for 1 and off in the mean for 1 of 2 variables; at worst",
        ),
        ({"comparison": table(np.inf, 0.0, 0.99)}, "cannot tell", "it overestimates the sd of tau without bound"),
        (
            {"comparison": table(0.6, 0.0, 0.99, error=np.inf)},
            "cannot tell",
            "the reference (NUTS) leaves the sd of tau open (heavy tails); a heavy tail that it cannot measure may be that of an "
            "improper posterior, as of a flat prior on a scale$",
        ),
        (
            {"comparison": table(0.6, 0.0, 0.99, error=0.2)},
            "cannot tell",
            "the reference (NUTS) has too few independent draws to know the sd of tau to a tenth; give more seconds (--budget)$",
        ),
        (
            {"comparison": table(0.6, 0.0, 0.99, error=0.2), "reference": "grid"},
            "cannot tell",
            "cannot tell: the reference (grid) does not reach far enough out to know the sd of tau$",
        ),
        (
            {"comparison": pair(table(1.0, 0, 1), computed(table(3.0, 0, 1, error=np.inf, mean_error=np.inf)))},
            "adequate",
            "is adequate for its only variable, as far as 33 starts and the reference (NUTS) show: means within 0.2 sd, sds within 10 % of the reference; "
            "but b, computed from the unknowns, has tails too heavy for a mean (NUTS)$",
        ),
        (
            {"comparison": pair(table(1.0, 0, 1), computed(table(np.nan, np.nan, 1, error=np.nan), lost=0.18))},
            "adequate",
            "; but b is NaN or infinite in 18 % of the draws of the reference, and not judged$",
        ),
        (
            {"comparison": pair(table(0.6, 0, 1), computed(table(0.5, 0, 1, error=np.inf)))},
            "too narrow",
            "has 1; but b, computed from the unknowns, has tails too heavy for an sd (NUTS)$",
        ),
        (
            {"comparison": pair(table(0.6, 0, 1), computed(table(1.0, 0, 1)))},
            "too narrow",
            "ADVI is too narrow for 1 of 2 variables (1 unknown, the others computed from these); it under",
        ),
        (
            {"comparison": pair(table(1, 0, 1, error=0.5), computed(table(1.0, 0, 1)))},
            "cannot tell",
            "(--budget); ADVI agrees for 0 of 1 unknowns and 1 of 1 variables computed from them: means",
        ),
        (
            {"comparison": pair(table(1, 0, 1), computed(table(0.1, 0, 1), same=True))},
            "adequate",
            "ADVI is adequate for its only variable,",
        ),
        (
            {"comparison": table(0.6, 0.0, 1, error=0.2, mean_error=np.inf)},
            "cannot tell",
            "cannot tell: the posterior may be improper, as with a flat prior on a scale, or have tails too heavy for a mean: that of tau does not "
            "settle (NUTS)$",
        ),
        ({"comparison": table(0.6, 0.0, 1, error=np.nan)}, "cannot tell", "leaves the sd of tau open ("),
        (
            {"comparison": pair(table(0.95, 0, 1), table(0.1, 0, 1, error=np.inf))},
            "cannot tell",
            "leaves the sd of b open (heavy tails); a heavy tail that it cannot measure may be that of an improper posterior, as of "
            "a flat prior on a scale; ADVI agrees for 1 of 2 variables: means",
        ),
        (
            {"comparison": pair(table(0.1, 0, 1, error=0.5, mean_error=np.inf), table(0.1, 0, 1, error=np.inf))},
            "cannot tell",
            "too heavy for a mean: that of a does not settle (NUTS), nor the sd of b$",
        ),
        (
            {"comparison": pair(table(3.0, 5e5, 1), table(0.1, 0, 1, error=0.5, mean_error=np.inf))},
            "cannot tell",
            "cannot tell: the posterior may be improper, as with a flat prior on a scale, or have tails too heavy for a mean: that of b does not settle "
            "(NUTS); by the same draws, ADVI is too wide for 1 and off in the mean for 1 of 2 variables; it has the mean of a off by 500000.0 sds$",
        ),
        (
            {
                "comparison": table(0.1, 0, 1, error=0.5, mean_error=np.inf),
                "missed": (0.38, 0.31, 0.45),
                "modes": 2,
                "k_hat_repair": 0.8,
            },
            "missed mode",
            "(its k-hat is 0.80): nor may other draws be relied on: the posterior may be improper",
        ),
        ({"comparison": table(0.87, 0.0, 0.99, error=0.01)}, "too narrow", "underestimates the sd of tau by 13 %"),
        (
            {"comparison": table(0.89, 0.0, 0.99, error=0.01)},
            "cannot tell",
            "cannot tell: for tau ADVI is farther from the reference (NUTS) than 10 % in the sd, or 0.2 sd in the mean, but by no more than two standard "
            "errors of the reference; more seconds (--budget) give it more draws$",
        ),
        (
            {"comparison": pair(table(0.89, 0.0, 1.0), table(1.0, 0.0, 1.0))},
            "cannot tell",
            "two standard errors of the reference; more seconds (--budget) give it more draws; ADVI agrees for 1 of 2 variables: means within 0.2 sd, sds within 10 % of the reference$",
        ),
        (
            {"comparison": pair(table(0.89, 0.0, 1.0), table(0.1, 0.0, 1.0, error=np.inf))},
            "cannot tell",
            "flat prior on a scale; and for a ADVI is farther from the reference (NUTS) than",
        ),
        (
            {"comparison": table(1.11, 0.0, 0.99, error=0.01)},
            "cannot tell",
            "by no more than two standard errors of the reference; more seconds (--budget) give it more draws$",
        ),
        (
            {"comparison": table(1.0, 0.21, 0.99, mean_error=0.01)},
            "cannot tell",
            "by no more than two standard errors of the reference; more seconds (--budget) give it more draws$",
        ),
        (
            {"comparison": pair(table(0.6, 0.0, 0.89), table(0.89, 0.0, 1.0))},
            "too narrow",
            "ADVI is too narrow for 1 of 2 variables; it underestimates the sd of a by 40 %; linear response gives it an sd of 0.89 where the reference "
            "(NUTS) has 1, and is within 10 % for 1 of 2: for the others use the draws of the reference$",
        ),
        (
            {"comparison": pair(table(0.6, 0.0, 1.13, error=0.05), table(1.0, 0.0, 0.88, error=0.05))},
            "too narrow",
            "linear response gives it an sd of 1.13 where the reference (NUTS) has 1, and is within 10 % for 0 of 2: use the draws of the reference$",
        ),
        (
            {"comparison": pair(table(0.85, 0.0, 1.0), table(0.84, 0.0, 1.0, error=0.05))},
            "too narrow",
            "ADVI is too narrow for 1 of 2 variables; it underestimates the sd of a by 15 %",
        ),
        (
            {"comparison": pair(table(0.6, 0, 1), table(0.1, 0, 1, error=np.inf))},
            "too narrow",
            "ADVI is too narrow for 1 of 2 variables; it underestimates the sd of a by 40 %; linear response gives it an sd of 1 where the reference "
            "(NUTS) has 1; but the reference (NUTS) leaves the sd of b open",
        ),
        (
            {
                "comparison": xr.concat([table(0.1, 0, 1, error=np.inf)] * 7, "variable").assign_coords(
                    variable=list("abcdefg")
                )
            },
            "cannot tell",
            "leaves the sd of a, b, c, d and 3 more open",
        ),
        (
            {"reasons": ("R-hat of x is 1.3",), "bounds": bounds(1.3, 0.0)},
            "cannot tell",
            "the sd of tau is at least 1.30 times ADVI's",
        ),
        ({"reasons": ("R-hat of x is 1.3",), "bounds": bounds(0.7, -0.2)}, "cannot tell", "at most 0.70 times"),
        (
            {"reasons": ("R-hat of x is 1.3",), "bounds": bounds(0.7, -0.2)},
            "cannot tell",
            "the mean of tau is off by at least 0.20 of",
        ),
        (
            {"reference": None, "bounds": bounds(1.0, 0.0)},
            "cannot tell",
            "which says nothing of what they do not reach",
        ),
        (
            {"missed": (0.38, 0.31, 0.45), "modes": 2},
            "missed mode",
            "misses a mode holding 38 % [31, 45] of the mass found; the mixture of all optima has it",
        ),
        (
            {"missed": (0.99, 0.96, 0.998), "modes": 2, "lacks": (0.486, 0.45, 0.52), "saved": "reference"},
            "missed mode",
            "ADVI misses a mode holding 99 % [96, 100] of the mass found; the mixture of all optima lacks 49 % [45, 52] of the mass, having "
            "next to nothing where draws of the reference (NUTS) are: use the draws of the reference$",
        ),
        (
            {
                "missed": (0.4, 0.3, 0.5),
                "modes": 2,
                "lacks": (0.9, 0.8, 0.95),
                "k_hat_repair": 1.2,
                "saved": "reference",
            },
            "missed mode",
            "the mixture of all optima does not repair it (its k-hat is > 1): use the draws of the reference$",
        ),
        ({"missed": (0.5, 0.499, 0.501), "modes": 2}, "missed mode", "holding 50 % of the mass found;"),
        (
            {"missed": (0.38, np.nan, np.nan), "modes": 2, "reasons": ("R-hat of x is 1.3",), "k_hat_repair": 0.9},
            "missed mode",
            "ADVI misses a mode holding 38 % of the mass found by a reference that may not be relied on; the mixture",
        ),
        (
            {"missed": None, "ridge": 39, "reference": None},
            "cannot tell",
            "39 places where ascents and optima ended are no separate modes: a ridge joins them",
        ),
        (
            {"missed": (0.38, 0.31, 0.45), "modes": 2, "mixed": False},
            "missed mode",
            "the mixture of all optima is no nearer to the posterior: use the draws of the reference$",
        ),
        (
            {"missed": (0.38, 0.31, 0.45), "modes": 2, "images": "labels"},
            "label switching",
            "ADVI covers 1 of 2 modes found, and the other (38 % [31, 45] of the mass found) is the same with labels exchanged: what does not depend on labels "
            "can be read off one of them, as far as its widths hold, of which no reference tells; order them (an ordered transform) to have one mode$",
        ),
        (
            {"missed": (0.5, 0.4, 0.6), "modes": 2, "images": "signs", "of_one": table(0.46, 0.0, 1.0)},
            "label switching",
            "the same with signs turned: what does not depend on signs can be read off one of them, as far as its widths hold: there ADVI is too narrow; it "
            "underestimates the sd of tau by 54 %; linear response gives it an sd of 1 where the reference (NUTS) has 1; fix a sign (one loading positive, "
            "say) to have one mode$",
        ),
        ({"at_rest": False, "optimum_verdict": "flat direction"}, "flat direction", "a - b"),
        (
            {"at_rest": False, "optimum_verdict": "still moving", "cut": True},
            "cannot tell",
            "still moving); give more seconds",
        ),
        ({"at_rest": False, "optimum_verdict": "still moving"}, "cannot tell", "more seconds will not help"),
        (
            {"at_rest": False, "optimum_verdict": "still moving", "saved": "reference"},
            "cannot tell",
            "use the draws of the reference (NUTS), which are saved as the posterior$",
        ),
        (
            {"at_rest": False, "optimum_verdict": "still moving", "jumps": ["tau"]},
            "cannot tell",
            "(still moving); the log density jumps along tau, as where an unknown is compared with numbers, and its slope, which a search follows, tells "
            "nothing of that; sum over the cases, or let them pass into one another (a sigmoid); use the draws of the reference (NUTS)$",
        ),
        (
            {"at_rest": False, "optimum_verdict": "saddle", "eigenvalue": -0.31},
            "cannot tell",
            "a saddle, which is at rest but",
        ),
        (
            {"at_rest": False, "optimum_verdict": "saddle", "eigenvalue": -0.31},
            "cannot tell",
            "rises along a - b (curvature -0.31",
        ),
        ({"reference": None}, "cannot tell", "no reference could be had in the budget; give more seconds. "),
        (
            {"reasons": ("R-hat of x is 1.3",)},
            "cannot tell",
            "R-hat of x is 1.3; give more seconds, or write the model in another parametrisation. ",
        ),
        (
            {"reasons": ("R-hat of x is 1.3",), "k_hat": 0.9},
            "cannot tell",
            "R-hat of x is 1.3; give more seconds, or write the model in another parametrisation$",
        ),
        ({"reference": None}, "cannot tell", "(ADVI's k-hat is 0.30)"),
        (
            {"comparison": table(0.6, 0.0, 0.99), "k_hat_response": 5.9},
            "too narrow",
            "but linear response's k-hat is > 1",
        ),
        (
            {"comparison": table(0.6, 0.0, 0.99), "k_hat_response": 0.91},
            "too narrow",
            "but linear response's k-hat is 0.91",
        ),
        (
            {"missed": (0.38, 0.31, 0.45), "modes": 2, "k_hat_repair": 4.6},
            "missed mode",
            "the mixture of all optima does not repair it (its k-hat is > 1): use the draws of the reference$",
        ),
        (
            {
                "missed": (0.38, 0.31, 0.45),
                "modes": 2,
                "k_hat_repair": 0.8,
                "reference": "SMC",
                "reasons": ("R-hat of x is 1.8",),
            },
            "missed mode",
            "(its k-hat is 0.80): nor may the reference (SMC) be relied on: R-hat of x is 1.8; give more seconds, or write",
        ),
    ],
)
def test_verdicts(changes: dict[str, object], grade: str, words: str) -> None:
    found = judge(evidence(**changes))
    assert found.grade == grade
    assert words in f"{found.sentence}$"  # the end of it


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        (table(0.97, 0.0, 1.0), False),
        (table(0.89, 0.0, 1.0, error=0.02), True),  # beyond the limit, by less than two errors
        (table(1.0, 0.21, 1.0, mean_error=0.02), True),
        (table(0.6, 0.0, 1.0), False),  # a fault is told already
        (table(1.0, 0.0, 1.0, error=0.2), True),  # too few draws
        (table(1.0, 0.0, 1.0, error=np.inf), False),  # no number of draws gives a heavy tail an sd
        (pair(table(0.89, 0.0, 1.0, error=0.02), table(0.5, 0.0, 1.0)), False),
        (pair(table(0.97, 0.0, 1.0), computed(table(1.0, 0.0, 1.0, error=np.inf))), False),
    ],
)
def test_more_draws_are_wanted_where_they_can_tell(comparison: xr.Dataset, expected: bool) -> None:
    assert wanting(comparison, "NUTS") is expected
