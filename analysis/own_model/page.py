"""What `duality model` says: one page, and lines for a terminal."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from analysis.own_model.figures import plot, worst
from analysis.own_model.findings import (
    astray,
    findings,
    mixed,
    optima_rows,
    told,
    written_moments,
    written_response,
)
from analysis.own_model.study import QUESTION
from analysis.own_model.summary import summary
from analysis.site import provenance as sources
from analysis.site.numbers import pct, plain
from analysis.site.single import write_single

__all__ = ["printed", "provenance", "write"]

_PRINTED, _ROWS = 5, 12  # variables, and optima or modes


def write(tree: xr.DataTree, output: Path) -> list[Path]:
    """Write the report on an examined model as one self-contained page.

    Parameters
    ----------
    tree : xarray.DataTree
        From `analysis.own_model.study.analyse`.
    output : Path
        Folder; gets ``index.html``.

    Returns
    -------
    list of Path
    """
    return write_single(
        "own_model",
        partial(plot, tree),
        findings(tree),
        question=QUESTION,
        title=f"{tree.attrs['name']}: what ADVI makes of it",
        provenance=provenance(tree),
        output=output,
    )


def provenance(tree: xr.DataTree) -> dict[str, Any]:
    """Where the numbers come from."""
    return {
        "model": tree.attrs["name"],
        "versions": json.loads(tree.attrs["versions"]),
        "settings": {"seed": int(tree.attrs["seed"]), "budget": f"{tree.attrs['budget_s']:g} s"},
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "run time": f"{tree.attrs['seconds']:.0f} s",
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "commit": sources.commit(),
    }


def printed(tree: xr.DataTree) -> list[str]:
    """Lines for a terminal: the verdict, the optima, the few variables at which ADVI is worst, and what to know."""
    s = summary(tree)
    grade, sentence = s["verdict"]["grade"], s["verdict"]["sentence"]
    lines = [f"{s['name']}: {sentence}" if told(s["verdict"]) else f"{s['name']}: {grade}: {sentence}"]
    if s["optima"]:
        columns = {
            "optimum": "optimum",
            "elbo": "ELBO, nats",
            "starts": "starts",
            "weight": "weight in the mixture",
            "verdict": "verdict",
            "k_hat": "k-hat of ADVI",
        }
        shown = [name for name in columns if name != "weight" or mixed(s)]
        rows = optima_rows(s)
        lines += ["", *_columns([columns, *rows[:_ROWS]], shown)]
        if len(rows) > _ROWS:
            lines.append(f"  and {len(rows) - _ROWS} more, which are on the page and in model.json")
        if lost := astray(s):
            lines.append(
                f"  the other starts, {pct(lost)}, were still moving when they were left, or ended at a place that was not followed"
            )
        names = worst(tree["comparison"].to_dataset(), _PRINTED)
        lines += ["", *_columns(_variables(s, names), ["variable", "ADVI", "response", "reference"])]
        if set(names) & set(s["optima"][0]["sd_linear_response_not_trusted"]):
            lines.append("  ? linear response may be off by more than 15 % there")
    return [*map(plain, lines), *(f"note: {warning}" for warning in s["warnings"])]


def _variables(s: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, str]]:
    head = {"variable": "mean ± sd of", "ADVI": "ADVI", "response": "sd by linear response", "reference": "reference"}
    if s["reference"] and not s["reference"]["ok"]:
        head["reference"] += ", not to be relied on"
    rows = [head]
    for name in names:
        rows.append(
            {
                "variable": name,
                "ADVI": _moments(s["optima"][0], name),
                "response": written_response(s["optima"][0], name),
                "reference": _moments(s["reference"], name) if s["reference"] else "–",
            }
        )
    return rows


def _moments(node: Mapping[str, Any], name: str) -> str:
    mean, sd = written_moments(node, name)
    return "does not settle" if mean == sd == "–" else f"{mean} ± {sd}"


def _columns(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """Rows as columns of even width."""
    cells = [[plain(str(row[key])).replace("\\", "") for key in keys] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
