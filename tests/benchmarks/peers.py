"""Pathfinder and PyMC's ADVI on some of the posteriors of the question ``reference_posteriors``, beside this project's own numbers.

Not part of the test run, and not in this project's environment: pymc-extras wants PyMC below 6.4. It has its own::

    uv venv --python 3.13 /tmp/peers
    uv pip install --python /tmp/peers/bin/python pymc-extras blackjax netcdf4 filelock lazy-loader platformdirs pydantic threadpoolctl
    /tmp/peers/bin/python tests/benchmarks/peers.py --rows /tmp/peers.jsonl --ours .../results/reference_posteriors.nc \\
        --output tests/benchmarks/peers.md

Models and references are those of ``analysis/reference_posteriors/posteriors.py``; ``--ours`` is what ``duality run reference_posteriors`` stored.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pymc as pm
import xarray as xr

from analysis.reference_posteriors.posteriors import CASES, Case, Reference

KEYS = ("mixture", "schools_centred", "schools", "kidiq", "mesquite", "kilpisjarvi", "gp")
TWICE = "mixture"  # the one with two modes, on which every method is run more often
DRAWS = 4000
GOOD = 0.7  # k-hat below which draws may be relied on (Vehtari et al., 2024)
EMPTY, HELD = 0.01, 0.05  # of the draws: less is none of them, more is a mode that was found
OFF = 0.1  # of a half, by which the share of a mode may be off
FAR = 2.0  # times its sd in the reference: a parameter has draws where the posterior has none
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Said:
    """What a method says: draws (n, p) on the natural scale; seconds of its own computing, where it tells them from those of compiling."""

    draws: np.ndarray
    k_hat: float | None  # None where the method has no diagnostic
    compiling_s: float | None = None


# --- methods ---------------------------------------------------------------------------------------------------------


def natural(names: Sequence[str], values: Callable[[str], np.ndarray]) -> np.ndarray:
    """Draws (n, p) of the parameters that Stan names, by variable and within it in order."""
    return np.concatenate(
        [values(v).reshape(DRAWS, -1) for v in dict.fromkeys(n.partition("[")[0] for n in names)], axis=1
    )


def of_tree(tree: Any, names: Sequence[str]) -> np.ndarray:
    posterior = tree["posterior"]
    return natural(names, lambda v: posterior[v].to_numpy())


def pymc_advi(model: pm.Model, names: Sequence[str], seed: int) -> Said:
    """``pm.fit()`` as it comes."""
    found = pm.fit(method="advi", model=model, random_seed=seed, progressbar=False)
    return Said(of_tree(found.sample(DRAWS, random_seed=seed), names), None)


def extras(tolerance: float | None = None) -> Callable[[pm.Model, Sequence[str], int], Said]:
    """``pymc_extras.fit_pathfinder()`` as it comes, 4 paths of 1000 draws resampled by PSIS; or with this relative tolerance of L-BFGS."""

    def fit(model: pm.Model, names: Sequence[str], seed: int) -> Said:
        import pymc_extras
        from pymc_extras.inference.pathfinder.lbfgs import LBFGSConfig

        config = None if tolerance is None else LBFGSConfig(ftol=tolerance)
        tree = pymc_extras.fit_pathfinder(
            model, num_draws=DRAWS, random_seed=seed, progressbar=False, parallel=False, lbfgs_config=config
        )
        about = tree["pathfinder"].to_dataset()
        return Said(of_tree(tree, names), float(about["pareto_k"]), float(about["compile_time"]))

    return fit


def blackjax_paths(paths: int, tolerance: float = 1e-5) -> Callable[[pm.Model, Sequence[str], int], Said]:
    """Multi-path Pathfinder of blackjax, resampled by PSIS; starts within 2 of PyMC's own, as Stan's."""

    def fit(model: pm.Model, names: Sequence[str], seed: int) -> Said:
        import blackjax
        import jax
        from pymc.sampling.jax import get_jaxified_logp

        jaxified = get_jaxified_logp(model)
        start = model.initial_point()
        sizes = [start[v.name].size for v in model.value_vars]

        def parts(x: Any) -> list[Any]:
            ends = np.cumsum([0, *sizes])
            return [
                x[a:b].reshape(start[v.name].shape) for a, b, v in zip(ends, ends[1:], model.value_vars, strict=False)
            ]

        def log_density(x: Any) -> Any:
            return jaxified(parts(x))

        centre = np.concatenate([np.ravel(start[v.name]) for v in model.value_vars])
        places = centre + np.random.default_rng(seed).uniform(-2, 2, (paths, len(centre)))
        keys = jax.random.split(jax.random.key(seed), paths // 4 + 1)
        method = blackjax.multipathfinder(log_density)
        # Four at a time: it holds the draws of every iteration of every path, some GB of them for twenty. By default a path ends after 30
        # iterations, which is before some of these are anywhere.
        begin = jax.jit(partial(method.init, num_samples=max(200, DRAWS // paths), maxiter=100, ftol=tolerance))
        states = [begin(k, places[4 * i : 4 * i + 4]) for i, k in enumerate(keys[1:])]
        state = jax.tree.map(lambda *x: jax.numpy.concatenate(x), *(s for s, _ in states))
        k_hat = float(blackjax.vi.multipathfinder.psis_weights(state)[1])
        points = np.asarray(method.sample(keys[0], state, DRAWS))
        values = to_natural(model, points, parts)
        return Said(natural(names, values.__getitem__), k_hat)

    return fit


def to_natural(model: pm.Model, points: np.ndarray, parts: Callable[[np.ndarray], list[Any]]) -> dict[str, np.ndarray]:
    variables = model.unobserved_value_vars
    compute = model.compile_fn(variables, inputs=model.value_vars, point_fn=False)
    rows = [compute(*map(np.asarray, parts(x))) for x in points]
    return {v.name: np.array([row[i] for row in rows]) for i, v in enumerate(variables)}


METHODS: dict[str, Callable[[pm.Model, Sequence[str], int], Said]] = {
    "Pathfinder, pymc-extras, 4 paths": extras(),
    "Pathfinder, pymc-extras, 4 paths, to 10⁻¹²": extras(1e-12),
    "Pathfinder, blackjax, 4 paths": blackjax_paths(4),
    "Pathfinder, blackjax, 4 paths, to 10⁻¹²": blackjax_paths(4, 1e-12),
    "Pathfinder, blackjax, 20 paths": blackjax_paths(20),
    "`pm.fit`, mean field": pymc_advi,
}
OURS = {
    "mean_field": "`fit_dadvi`, mean field",
    "linear_response": "with linear response",
    "full_rank": "`fit_dadvi`, full rank",
    "mixture": "mixture of its optima",
}


# --- scores ----------------------------------------------------------------------------------------------------------


def scores(draws: np.ndarray, reference: Reference) -> Row:
    """Errors of means in sds, ratios of sds, and for each mode its share of the draws and whether it was found."""
    z = (draws[:, None] - reference.modes) / reference.mode_sd  # (n, modes, p)
    nearest = np.argmin(np.square(z).sum(axis=2), axis=1)
    shares = [float(np.mean(nearest == k)) for k in range(len(reference.modes))]
    found = [
        share > HELD and bool((np.abs(z[nearest == k, k].mean(axis=0)) < 1).all()) for k, share in enumerate(shares)
    ]
    return judged(draws.mean(axis=0), draws.std(axis=0), reference) | {"shares": shares, "found": sum(found)}


def judged(mean: np.ndarray, sd: np.ndarray, reference: Reference) -> Row:
    error, ratio = np.abs(mean - reference.mean) / reference.sd, sd / reference.sd
    return {
        "error": float(error.max()),
        "error_median": float(np.median(error)),
        "low": float(ratio.min()),
        "high": float(ratio.max()),
    }


def run(case: Case, name: str, seed: int) -> Row:
    row: Row = {"case": case.key, "title": case.title, "method": name, "seed": seed}
    reference = case.reference
    began, began_cpu = time.perf_counter(), time.process_time()
    try:
        said = METHODS[name](case.model(), reference.names, seed)
    except Exception as error:  # a failure is a result here
        return row | {"failed": f"{type(error).__name__}: {error}"}
    row |= {
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - began_cpu,
        "compiling_s": said.compiling_s,
    }
    return row | {"k_hat": said.k_hat} | scores(said.draws, reference)


def ours(path: Path, keys: Sequence[str]) -> list[Row]:
    """The same scores from stored results."""
    tree, rows = xr.open_datatree(path), []
    for case in CASES:
        if case.key not in keys:
            continue
        fits = tree[case.key]["fits"].to_dataset()
        for way, name in OURS.items():
            if way not in fits["way"]:
                continue
            fit = fits.sel(way=way)
            row = judged(fit["mean"].to_numpy(), fit["sd"].to_numpy(), case.reference)
            rows.append(
                row
                | {"case": case.key, "title": case.title, "method": name, "seed": 0, "k_hat": float(fit["k_hat"]), "cpu_s": float(fit["seconds"]),
                   "shares": fit["weight"].to_numpy().tolist(), "found": int(fit["found"].sum())}
            )  # fmt: skip
    return rows


# --- table -----------------------------------------------------------------------------------------------------------


def span(values: Iterable[float], digits: int = 2) -> str:
    found = sorted(values)
    low, high = (f"{v:.{digits}g}" for v in (found[0], found[-1]))
    return low if low == high else f"{low} to {high}"


def warned(k_hat: float | None) -> bool:
    """Also where it cannot be computed."""
    return k_hat is not None and not k_hat < GOOD


def line(rows: Sequence[Row]) -> list[str]:
    good = [r for r in rows if "failed" not in r]
    first = rows[0]
    if not good:
        return [first["title"], first["method"], str(len(rows)), "failed", *[""] * 5]
    modes = len(good[0]["shares"])
    counts = sorted({r["found"] for r in good})
    without = all(r["k_hat"] is None for r in good)
    return [
        first["title"],
        first["method"],
        str(len(rows)) if len(good) == len(rows) else f"{len(rows)} ({len(rows) - len(good)} failed)",
        span(r["error"] for r in good),
        f"{min(r['low'] for r in good):.2g} to {max(r['high'] for r in good):.2g}",
        f"{' or '.join(map(str, counts))} of {modes}",
        "none" if without else span(r["k_hat"] for r in good),
        "–" if without else f"{sum(warned(r['k_hat']) for r in good)} of {len(good)}",
        span(r["cpu_s"] for r in good),
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join("| " + " | ".join(entry) + " |" for entry in lines)


def one_mode_only(rows: Sequence[Row]) -> list[list[str]]:
    """On the posterior with two modes: how often one of them has next to no draws, and what k-hat says then."""
    lines = []
    for name in dict.fromkeys(r["method"] for r in rows):
        mine = [r for r in rows if r["case"] == TWICE and r["method"] == name and "failed" not in r]
        if not mine:
            continue
        lost = [r for r in mine if min(r["shares"]) < EMPTY]
        off = [r for r in mine if abs(r["shares"][0] - 0.5) > OFF]
        far = [r for r in mine if r["high"] > FAR]
        counts = [
            f"{len(part)} ({sum(r['k_hat'] is not None and not warned(r['k_hat']) for r in part)})"
            for part in (lost, off, far)
        ]
        lines.append([name, str(len(mine)), *counts,
                      ", ".join(f"{r['shares'][0]:.2f}" + ("" if r["k_hat"] is None else f" ({r['k_hat']:.2f})") for r in mine)])  # fmt: skip
    return lines


def versions() -> str:
    names = ("pymc", "pymc-extras", "blackjax", "jax", "pytensor", "numba", "numpy", "arviz")
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def report(rows: Sequence[Row], own: Sequence[Row], note: str) -> str:
    every = [*rows, *own]
    keys = list(dict.fromkeys(r["case"] for r in every))
    names = list(dict.fromkeys(r["method"] for r in every))
    groups = [g for k in keys for n in names if (g := [r for r in every if (r["case"], r["method"]) == (k, n)])]
    failed = [
        f"- {r['title']}, {r['method']}, seed {r['seed']}: {r['failed'].splitlines()[0]}" for r in rows if "failed" in r
    ]
    head = ["posterior", "method", "runs", "largest error of a mean, sds", "sds over the reference's", "modes found", "k-hat", "warned", "seconds"]  # fmt: skip
    return "\n\n".join(
        [
            "# Peers",
            f"{datetime.now(UTC):%d %B %Y}; {platform.machine()}, {os.cpu_count()} processors with other work, Python {platform.python_version()}; {versions()}. "
            "Made by `tests/benchmarks/peers.py`. `fit_dadvi` is this project's, from the stored results of `reference_posteriors`, in its own environment.",
            *([note] if note else []),
            "## On posteriors that others chose",
            f"{DRAWS} draws of each method against 10,000 of Stan's, on the natural scale; ranges are over parameters and runs. An error below 0.03 is that of the draws. "
            f"*Modes found*: it has at least {100 * HELD:.0f} % of the draws, with their mean within one sd in every parameter (of `fit_dadvi`: an optimum with its mean there). *Warned*: the method's own k-hat is above {GOOD} or cannot be computed. "
            "*Seconds* of processor time: for peers the whole call, compiling included, which is most of it in small models; for `fit_dadvi` without compiling.",
            table(head, map(line, groups)),
            "## Two modes",
            f"Two Normals in either order: each mode holds one half. *Lost*: a mode has less than {100 * EMPTY:.0f} % of the draws. *Weights off*: by more than {OFF}. "
            f"*Too wide*: an sd is more than {FAR:g} times the reference's. In brackets: of these, how often the method's own k-hat was below {GOOD}.",
            table(["method", "runs", "lost a mode", "weights off", "too wide", "share of the first mode (k-hat), run by run"], one_mode_only(every)),
            *(["## Failed", "\n".join(failed)] if failed else []),
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=lambda s: s.split(","), default=list(KEYS))
    parser.add_argument("--methods", type=lambda s: s.split(";"), default=list(METHODS))
    parser.add_argument("--runs", type=int, default=2, help="of each method on each posterior")
    parser.add_argument("--repeats", type=int, default=8, help="on the one with two modes")
    parser.add_argument("--minutes", type=float, default=np.inf, help="after which no run is begun")
    parser.add_argument("--rows", type=Path, help="JSON lines, added to; runs that are there are not done again")
    parser.add_argument("--ours", type=Path, help="stored results of reference_posteriors")
    parser.add_argument("--note", type=Path, help="Markdown, put under the head")
    parser.add_argument("--output", type=Path, help="Markdown; printed if not given")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    rows: list[Row] = []
    if options.rows and options.rows.exists():
        rows = [json.loads(entry) for entry in options.rows.read_text().splitlines()]
    done = {(r["case"], r["method"], r["seed"]) for r in rows}
    warnings.simplefilter("ignore")
    cases = {case.key: case for case in CASES}
    jobs = [(key, name, seed) for seed in range(options.repeats) for key in options.cases for name in options.methods if key == TWICE or seed < options.runs]  # fmt: skip
    for key, name, seed in jobs:
        if (key, name, seed) in done or time.monotonic() > until:
            continue
        rows.append(run(cases[key], name, seed))
        if options.rows:
            with options.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    note = options.note.read_text().strip() if options.note else ""
    text = report(rows, ours(options.ours, options.cases) if options.ours else [], note) + "\n"
    if options.output:
        options.output.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
