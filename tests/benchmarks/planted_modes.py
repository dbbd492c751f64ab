"""How often a planted second mode is named, and how often one is named that is not there.

Not part of the test run::

    uv run python tests/benchmarks/planted_modes.py --runs 100 --budget 60 --output tests/benchmarks/planted_modes.md

Each run plants two Normals in a user's model: ``pm.Flat`` and a Potential, in unconstrained space, from which no prior can be drawn. Both
have the same sds, drawn log-uniformly in [1/2, 2]; the second lies so many sds away in a random direction, and the first somewhere about
the initial point. ``--alone`` leaves the examination out, which takes most of the time, and prints the table of the optima alone. Rows are kept as they come (``--rows``), so that a run that is cut short can be printed, and one that goes on adds to them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from scipy.stats import binomtest, norm

from models.advi import fit_dadvi, member
from models.families import FAMILIES
from models.own_model import examine
from models.own_model.modes import Mode, assign, covers, has
from models.projections import reverse_projections
from models.targets import from_model, normal_mixture

MASSES, APART = (0.05, 0.1, 0.3, 0.5), (3.0, 5.0, 8.0)
MOST_ALONE = 10  # unknowns, up to which optima alone are asked for both modes
NAMED = ("missed mode", "label switching")
Row = dict[str, Any]


# --- two modes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Planted:
    """Two Normals of the same sds (d,): places (2, d), the second with this mass."""

    places: np.ndarray
    sd: np.ndarray
    mass: float

    @classmethod
    def draw(cls, dim: int, apart: float, mass: float, rng: np.random.Generator) -> Planted:
        sd = 2 ** rng.uniform(-1, 1, dim)
        first = rng.standard_normal(dim)
        way = rng.standard_normal(dim)
        return cls(np.stack([first, first + apart * sd * way / np.linalg.norm(way)]), sd, mass)

    def model(self) -> pm.Model:
        with pm.Model() as model:
            # Data, so that one compiled density serves all runs of a dimension.
            weights, places = pm.Data("weights", [1 - self.mass, self.mass]), pm.Data("places", self.places)
            x = pm.Flat("x", shape=len(self.sd))
            z = (x - places) / pm.Data("sd", self.sd)
            pm.Potential("modes", pt.logsumexp(pt.log(weights) - 0.5 * pt.sum(z**2, axis=1)))
        return model

    def modes(self) -> list[Mode]:
        return [
            Mode(p, float(np.log(w)), np.diag(self.sd))
            for p, w in zip(self.places, (1 - self.mass, self.mass), strict=True)
        ]


@cache
def exact(apart: float, mass: float) -> tuple[int, bool]:
    """Modes of the density, and whether minima of reverse KL together cover both places (one dimension: Normals of equal sds)."""
    x = np.linspace(-1, apart + 1, 4001)
    height = np.logaddexp(np.log(1 - mass) - x**2 / 2, np.log(mass) - (x - apart) ** 2 / 2)
    modes = int(np.sum((height[1:-1] > height[:-2]) & (height[1:-1] > height[2:])))
    found = reverse_projections(normal_mixture([1 - mass, mass], [0, apart], [1, 1]), FAMILIES["normal"])
    minima = [p.params for p in found if "minimum" in p.status]
    return modes, all(any(abs(x - m["mu"]) <= 3 * m["sigma"] for m in minima) for x in (0.0, apart))


def beyond(apart: float, mass: float) -> float:
    """Mass on the second one's side of the border at which both weigh the same, which is what is said to be missed."""
    border = apart / 2 + np.log((1 - mass) / mass) / apart
    return float((1 - mass) * norm.sf(border) + mass * norm.cdf(apart - border))


def two_modes(dim: int, apart: float, mass: float, seed: int, budget_s: float, *, examined: bool = True) -> Row:
    """One run: what the optima alone have, and what is said."""
    rng = np.random.default_rng([seed, dim, int(apart), int(100 * mass)])
    planted = Planted.draw(dim, apart, mass, rng)
    own = int(rng.integers(2**20))  # not that of other cells, whose draws would be off in the same way
    target = from_model(planted.model())
    target.log_density(target.initial_point[None])  # compiled before the clock starts
    row: Row = {"kind": "two", "dim": dim, "apart": apart, "mass": mass, "seed": seed}
    if dim <= MOST_ALONE:
        began = time.perf_counter()
        fit = fit_dadvi(target, seed=own, budget_s=budget_s, draws=100)
        row["alone_s"] = time.perf_counter() - began
        optima = [member(fit, k).scales[0] for k in range(_optima(fit))]
        row["alone"] = all(any(covers(*o, mode) for o in optima) for mode in planted.modes())
        row["optima"] = len(optima)
    if not examined:
        return row
    began = time.perf_counter()
    tree = examine(planted.model(), seed=own, budget_s=budget_s)
    row["examine_s"] = time.perf_counter() - began
    row |= said(tree)
    row["covered"] = all(has(planted.modes(), member(tree, 0).rvs(4000, seed=own), np.array([1 - mass, mass])))
    if "reference" in tree.children:
        points = tree["reference/posterior"]["x"].to_numpy().reshape(-1, dim)
        row["reference"] = float(np.mean(assign(planted.modes(), points) == 1))
    return row


# --- one mode --------------------------------------------------------------------------------------------------------


def correlated(rng: np.random.Generator) -> pm.Model:
    half = rng.standard_normal((5, 8))
    with pm.Model() as model:
        pm.MvNormal("x", rng.standard_normal(5), pm.Data("cov", half @ half.T / 8))
    return model


def heavy_tail(rng: np.random.Generator) -> pm.Model:
    with pm.Model() as model:
        pm.StudentT("x", pm.Data("nu", rng.uniform(3, 8)), mu=pm.Data("mu", rng.standard_normal(3)), sigma=1, shape=3)
    return model


def scale(rng: np.random.Generator) -> pm.Model:
    y = rng.normal(0, np.exp(rng.normal(0, 1)), 12)
    with pm.Model() as model:
        sigma = pm.LogNormal("sigma", 0, 1)
        pm.Normal("y", 0, sigma, observed=pm.Data("observed", y))
    return model


def regression(rng: np.random.Generator) -> pm.Model:
    X = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 3))
    y = X @ rng.standard_normal(3) + rng.standard_normal(30)
    with pm.Model() as model:
        beta = pm.Normal("beta", 0, 5, shape=3)
        sigma = pm.HalfNormal("sigma", 2)
        pm.Normal("y", pm.Data("X", X) @ beta, sigma, observed=pm.Data("observed", y))
    return model


ONE: dict[str, Callable[[np.random.Generator], pm.Model]] = {
    "correlated Normal, 5 unknowns": correlated,
    "Student t, 3 to 8 degrees, 3 unknowns": heavy_tail,
    "log-normal scale, 12 observations": scale,
    "regression, 4 unknowns": regression,
}


def one_mode(name: str, seed: int, budget_s: float) -> Row:
    model = ONE[name](np.random.default_rng([seed, 41]))
    began = time.perf_counter()
    tree = examine(model, seed=seed, budget_s=budget_s)
    return {"kind": "one", "model": name, "seed": seed, "examine_s": time.perf_counter() - began} | said(tree)


# --- both ------------------------------------------------------------------------------------------------------------


def _optima(tree: xr.DataTree) -> int:
    return sum(name.startswith("optimum_") for name in tree.children)


def said(tree: xr.DataTree) -> Row:
    attrs = tree.attrs
    keys = ("missed_mass", "missed_lower", "missed_upper")
    return {
        "grade": attrs["grade"],
        "sentence": attrs["sentence"],
        "modes": tree["modes"].sizes["mode"],
        **{key: float(attrs[key]) for key in keys},
    }


def work(runs: int, dims: Sequence[int]) -> Iterator[Row]:
    """Every run, by turns, so that one that is cut short has as many in each cell."""
    for seed in range(runs):
        for name in ONE:
            yield {"kind": "one", "model": name, "seed": seed}
        for dim in dims:
            for apart in APART:
                for mass in MASSES:
                    yield {"kind": "two", "dim": dim, "apart": apart, "mass": mass, "seed": seed}


def compute(job: Row, budget_s: float, *, examined: bool = True) -> Row:
    try:
        if not examined:
            return two_modes(job["dim"], job["apart"], job["mass"], job["seed"], budget_s, examined=False)
        if job["kind"] == "one":
            return one_mode(job["model"], job["seed"], budget_s)
        return two_modes(job["dim"], job["apart"], job["mass"], job["seed"], budget_s)
    except Exception as error:  # a failure is a result here, and is counted
        return job | {"grade": "failed", "sentence": f"{type(error).__name__}: {error}"}


def outcome(row: Row) -> str:
    """What an examination of a planted mode comes to.

    ``named``: a missed mode is named. ``covered``: ADVI's lowest optimum has at least half of the mass of both. ``shoulder``: the density has one mode only, and
    none is named. ``untold``: it says that it cannot tell. ``faulty``: another fault of ADVI is named, as widths or a mean. ``silent``: none of
    these, which is the fault looked for.
    """
    if row["grade"] in NAMED:
        return "named"
    if row["grade"] == "failed":
        return "failed"
    if exact(row["apart"], row["mass"])[0] < 2:
        return "shoulder"
    if row["grade"] == "cannot tell":
        return "untold"
    if row["covered"]:
        return "covered"
    return "silent" if row["grade"] == "adequate" else "faulty"


def seen(row: Row) -> bool:
    """Whether the reference has been in the planted mode."""
    return row.get("reference", 0.0) > row["mass"] / 4


# --- tables ----------------------------------------------------------------------------------------------------------


def share(hits: int, n: int) -> str:
    if not n:
        return "–"
    low, high = binomtest(hits, n).proportion_ci(method="wilson")
    return f"{hits}/{n} [{100 * low:.0f}, {100 * high:.0f}] %"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(rows: Sequence[Row]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[outcome(row)] = counts.get(outcome(row), 0) + 1
    return ", ".join(f"{k} {v}" for k, v in sorted(counts.items(), key=lambda kv: -kv[1])) or "–"


def alone_table(rows: Sequence[Row], dims: Sequence[int]) -> str:
    """How often the optima alone have both modes, by cell."""

    def at(dim: int, apart: float, mass: float) -> str:
        found = [r["alone"] for r in rows if "alone" in r and (r["dim"], r["apart"], r["mass"]) == (dim, apart, mass)]
        return share(sum(found), len(found)) if found else "–"

    columns = [f"{100 * m:.0f} %" for m in MASSES]
    cells = [[str(d), f"{a:.0f}", *(at(d, a, m) for m in MASSES)] for d in dims if d <= MOST_ALONE for a in APART]
    return table(["unknowns", "sds apart", *columns], cells)


def alone_report(rows: Sequence[Row]) -> str:
    """The table of the optima alone, and its sums."""
    there = [r for r in rows if "alone" in r]
    sums = []
    for possible, words in (
        (True, "where minima of reverse KL at both exist or one covers both"),
        (False, "where they do not"),
    ):
        mine = [r["alone"] for r in there if exact(r["apart"], r["mass"])[1] == possible]
        sums.append(f"{share(sum(mine), len(mine))} {words}")
    dims = sorted({r["dim"] for r in there})
    return (
        f"{datetime.now(UTC):%d %B %Y}; {len(there)} runs by `--alone`, {len(rows) - len(there)} failed. Both modes: {'; '.join(sums)}. "
        f"Seconds of a fit: {np.median([r['alone_s'] for r in there]):.1f} in the median, {max(r['alone_s'] for r in there):.1f} at most.\n\n"
        f"{alone_table(rows, dims)}"
    )


def report(rows: Sequence[Row], budget_s: float, note: str) -> str:
    two, one = [r for r in rows if r["kind"] == "two"], [r for r in rows if r["kind"] == "one"]
    whole = [r for r in two if r["grade"] != "failed"]
    dims = sorted({r["dim"] for r in two})

    def at(dim: int, apart: float, mass: float) -> list[Row]:
        return [r for r in two if (r["dim"], r["apart"], r["mass"]) == (dim, apart, mass)]

    columns = [f"{100 * m:.0f} %" for m in MASSES]
    kinds = [[f"{a:.0f}", *(f"{exact(a, m)[0]}, {'yes' if exact(a, m)[1] else 'no'}" for m in MASSES)] for a in APART]
    examined = [[str(d), f"{a:.0f}", *(cell(at(d, a, m)) for m in MASSES)] for d in dims for a in APART]
    asked = [r for r in whole if exact(r["apart"], r["mass"])[0] > 1 and seen(r) and not r["covered"]]
    possible = [r for r in whole if "alone" in r and exact(r["apart"], r["mass"])[1]]
    impossible = [r for r in whole if "alone" in r and not exact(r["apart"], r["mass"])[1]]
    named = [r for r in whole if outcome(r) == "named" and r["missed_lower"] == r["missed_lower"]]
    holds = [
        r["missed_lower"] <= beyond(r["apart"], r["mass"]) <= r["missed_upper"]
        for r in named
        if r["mass"] < 0.5 and r["apart"] >= 5
    ]
    modes2 = [r for r in whole if exact(r["apart"], r["mass"])[0] > 1]
    totals = [
        ["Named, where there are two modes, the reference saw the second and ADVI does not cover it", share(sum(outcome(r) == "named" for r in asked), len(asked))],
        ["Reference saw the second mode, where there are two", share(sum(seen(r) for r in modes2), len(modes2))],
        ["Optima alone have both, where minima of reverse KL at both exist or one covers both (up to 10 unknowns)", share(sum(r["alone"] for r in possible), len(possible))],
        ["Optima alone have both, where they do not", share(sum(r["alone"] for r in impossible), len(impossible))],
        ["The interval of the missed mass holds the mass beyond the border between them (5 and 8 sds, below 50 %)", share(sum(holds), len(holds))],
    ]  # fmt: skip
    alarms = []
    for name in ONE:
        mine = [r for r in one if r["model"] == name]
        alarms.append([name, share(sum(r["grade"] in NAMED for r in mine), len(mine)),
                       ", ".join(f"{g} {sum(r['grade'] == g for r in mine)}" for g in sorted({r["grade"] for r in mine}))])  # fmt: skip
    alarms.append(["all", share(sum(r["grade"] in NAMED for r in one), len(one)), ""])
    spent = [[str(d), *(f"{np.median(v):.1f}, {max(v):.1f}" if (v := [r[k] for r in whole if r["dim"] == d and k in r]) else "–" for k in ("alone_s", "examine_s"))] for d in dims]  # fmt: skip
    odd = [r for r in rows if r["grade"] == "failed" or (r["kind"] == "two" and outcome(r) in ("silent", "untold")) or (r["kind"] == "one" and r["grade"] in (*NAMED, "cannot tell", "improper", "flat direction"))]  # fmt: skip
    per_cell = sorted(len(at(d, a, m)) for d in dims for a in APART for m in MASSES)
    return "\n\n".join(
        [
            "# Planted modes",
            f"{datetime.now(UTC):%d %B %Y}; {' to '.join(map(str, sorted({per_cell[0], per_cell[-1]})))} runs a cell, {len(rows)} in all, budget {budget_s:g} s each; "
            f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, PyMC {pm.__version__}. "
            "Brackets are Wilson's 95 % intervals. Made by `tests/benchmarks/planted_modes.py`, whose head says what is planted.",
            *([note] if note else []),
            "## In sum",
            table(["", "runs"], totals),
            "## What there is to find",
            "Number of modes of the density, and whether minima of reverse KL (exact, along the line between the modes) have both places within 3 sds. "
            "Where they do not, no search for optima can name the second mode; a look at the density can (but mean field in axes that are not along the line sometimes has one).",
            table(["sds apart", *columns], kinds),
            "## Optima alone (`fit_dadvi`)",
            alone_table(two, dims),
            "## Examined (`examine`)",
            "*named*: a missed mode is named; *covered*: the lowest optimum has at least half of the mass of both; *shoulder*: the density has one mode, and none is named; "
            "*untold*: it says that it cannot tell; *faulty*: another fault of ADVI is named, as widths or a mean; *silent*: none of these.",
            table(["unknowns", "sds apart", *columns], examined),
            "## One mode",
            table(["model", "false alarms", "grades"], alarms),
            "## Seconds",
            "Median and largest, on a machine with other work.",
            table(["unknowns", "`fit_dadvi`", "`examine`"], spent),
            "## Runs to look at",
            "\n".join(f"- {_where(r)}: {r['grade']}: {r['sentence']}" for r in odd) or "None.",
        ]
    )  # fmt: skip


def _where(row: Row) -> str:
    if row["kind"] == "one":
        return f"{row['model']}, seed {row['seed']}"
    return f"{row['dim']} unknowns, {row['apart']:.0f} sds, {100 * row['mass']:.0f} %, seed {row['seed']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="a cell")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of one fit or examination")
    parser.add_argument("--dims", type=lambda s: [int(d) for d in s.split(",")], default=[1, 2, 10, 50])
    parser.add_argument("--minutes", type=float, default=np.inf, help="after which no run is begun")
    parser.add_argument("--alone", action="store_true", help="optima alone, without the examination")
    parser.add_argument("--rows", type=Path, help="JSON lines, added to; runs that are there are not done again")
    parser.add_argument("--note", type=Path, help="Markdown, put under the head")
    parser.add_argument("--output", type=Path, help="Markdown; printed if not given")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    rows: list[Row] = []
    if options.rows and options.rows.exists():
        rows = [json.loads(line) for line in options.rows.read_text().splitlines()]
    done = {json.dumps({k: r[k] for k in ("kind", "model", "dim", "apart", "mass", "seed") if k in r}) for r in rows}
    warnings.simplefilter("ignore")
    jobs = work(options.runs, options.dims)
    for job in (j for j in jobs if not options.alone or (j["kind"] == "two" and j["dim"] <= MOST_ALONE)):
        if time.monotonic() > until:
            break
        if json.dumps({k: job[k] for k in ("kind", "model", "dim", "apart", "mass", "seed") if k in job}) in done:
            continue
        rows.append(compute(job, options.budget, examined=not options.alone))
        if options.rows:
            with options.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    note = options.note.read_text().strip() if options.note else ""
    text = (alone_report(rows) if options.alone else report(rows, options.budget, note)) + "\n"
    if options.output:
        options.output.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
