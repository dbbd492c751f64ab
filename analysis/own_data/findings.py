"""The report on your own data: its numbers and sentences, chosen by what was found."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from analysis.drawing.style import Style, to_dark
from analysis.own_data.figures import plot
from analysis.own_data.study import CLOSE, QUESTION, ranked_names, summary
from analysis.site.chapter import TEMPLATES
from analysis.site.figure import Figure
from analysis.site.numbers import est, num, pct
from analysis.site.report import Section, write_report

__all__ = ["findings", "printed", "provenance", "write"]

_TO = "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}"
#: A difference of KL of so many standard errors is called one.
_CLEAR = 2.0


def write(tree: xr.DataTree, output: Path, provenance: Mapping[str, Any]) -> list[Path]:
    """Write the report of an analysis as one self-contained page.

    Parameters
    ----------
    tree : xarray.DataTree
        From `analysis.own_data.study.analyse`.
    output : Path
        Folder; gets ``index.html``.
    provenance : mapping
        Shown at the end.

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl

    mpl.use("agg")
    style = Style.of("light", "matplotlib")
    figures = []
    for name, drawing in plot(tree).items():
        svg = drawing.svg(style)
        figures.append(Figure(name, svg, to_dark(svg), "svg", alt=drawing.alt, caption=drawing.caption))
    found = findings(tree)
    section = Section("data", "Your data", found, figures)
    return write_report(
        [section],
        provenance=provenance,
        output=output,
        formats=("html",),
        title=f"{tree.attrs['name']}: which family, and how far",
        templates=(Path(__file__).parent, TEMPLATES),
    )


def literal(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|$^~@'\"])", r"\\\1", text)


def _warning(text: str) -> str:
    return literal(text).replace("--jitter", "`--jitter`")


def findings(tree: xr.DataTree) -> dict[str, Any]:
    """Every number and sentence of the report.

    Parameters
    ----------
    tree : xarray.DataTree

    Returns
    -------
    dict
    """
    s = summary(tree)
    columns = [literal(name) for name in s["columns"]]
    together = f"the columns {', '.join(columns)}, jointly" if len(columns) > 1 else f"the column {columns[0]}"
    lost = s["rows"] - s["n"]
    return {
        "question": QUESTION,
        "answer": _answer(s),
        "data_sentence": (
            f"{literal(tree.attrs['name'])} has {num(s['rows'])} rows. This report is about {together}, in {num(s['n'])} rows"
            + (f": {pct(lost / s['rows'])} lack a value and were dropped." if lost else ".")
            + " The rows are taken for independent draws of one distribution. If they are a series in time, or hold copies, the errors "
            "below are too small."
        ),
        "warnings": [_warning(warning) for warning in s["warnings"]],
        "rows": _rows(s),
        "interval_header": f"{pct(s['level'], digits=3).removesuffix('.0%').removesuffix('%')}% interval",
        "ranking_sentence": _ranking_sentence(s),
        "distance_sentence": _distance_sentence(s),
        "parameters": _parameters(s),
        **({"reverse": _reverse(s["reverse"])} if s["reverse"] else {}),
    }


def _value(number: Any) -> float:
    return np.nan if number is None else float(number)


def _interval(family: Mapping[str, Any]) -> str:
    low, high = (_value(end) for end in family["kl_interval"])
    error = _value(family["kl_error"])
    return f"{num(low, error if np.isfinite(error) else None)}{_TO}{num(high, error if np.isfinite(error) else None)}"


def _pair(value: Any, error: Any) -> str:
    if value is None:
        return "–"
    if error is None:
        return num(_value(value), digits=3)
    return est({"value": _value(value), "error": _value(error)})


def _rows(s: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for i, entry in enumerate(s["ranking"]):
        family = s["families"][entry["family"]]
        known = family["kl"] is not None
        notes = [] if family["status"] == "converged" else [family["status"]]
        if known and not family["reliable"]:
            notes.append("KL not reliable")
        rows.append(
            {
                "family": entry["family"],
                "difference": "0" if i == 0 else _pair(entry["kl_difference"], entry["se"]),
                "kl": _pair(family["kl"], family["kl_error"]) if known else "–",
                "interval": _interval(family) if known else "–",
                "note": literal("; ".join(notes)) or None,
            }
        )
    return rows


def _clear(entry: Mapping[str, Any], s: Mapping[str, Any]) -> bool:
    """Whether a family is clearly behind the best: more than chance, and enough nats for the error to mean something."""
    if entry["se"] is None:
        return False
    value, error = _value(entry["kl_difference"]), _value(entry["se"])
    rows = min(s["families"][name]["n"] for name in (entry["family"], s["ranking"][0]["family"]))
    return bool(np.isinf(value) or (value > _CLEAR * error and value * rows >= CLOSE))


def _ranking_sentence(s: Mapping[str, Any]) -> str:
    best, *others = s["ranking"]
    if not others:
        return f"Only {best['family']} was fitted, so there is nothing to rank."
    if any(entry["se"] is None for entry in others):
        return f"With {s['n']} rows the differences have no standard errors, and the order may be chance."
    behind = [entry["family"] for entry in others if _clear(entry, s)]
    level = [entry["family"] for entry in others if entry["family"] not in behind]
    if not level:
        return f"Every other family is farther than {best['family']} by more than {_CLEAR:g} standard errors."
    told = f"These data do not tell {' and '.join([best['family'], *level])} apart"
    return (
        f"{told}; {', '.join(behind)} {'are' if len(behind) > 1 else 'is'} clearly farther." if behind else f"{told}."
    )


def _answer(s: Mapping[str, Any]) -> str:
    best, *others = s["ranking"]
    family = s["families"][best["family"]]
    level = [entry["family"] for entry in others if not _clear(entry, s)]
    first = f"**{best['family']}** is the closest of {len(s['ranking'])} families"
    if level:
        first += f", but these data do not tell it from {' or '.join(level)}"
    elif others:
        second = others[0]
        first += f"; the next, {second['family']}, is {_pair(second['kl_difference'], second['se'])} nats farther"
    if family["kl"] is None:
        return (
            f"{first}. There are too few rows ({s['n']}) to say how far it is from the distribution the data come from."
        )
    if not family["reliable"]:
        return f"{first}. How far it is from the distribution the data come from cannot be told reliably, for the reasons below."
    low, high = (_value(end) for end in family["kl_interval"])
    if low <= 0:
        bound = num(high, _value(family["kl_error"]))
        return f"{first}. Its KL is at most about {bound} nats, and zero is not excluded: nothing in these data speaks against it."
    return f"{first}. It is not right: its KL is {_interval(family)} nats, and zero is excluded."


def _distance_sentence(s: Mapping[str, Any]) -> str:
    if s["entropy"] is None:
        return (
            f"The KL itself needs the entropy of $p_\\text{{data}}$, which nearest neighbours tell only from 20 rows on; these are {s['n']}. "
            "The probability integral transforms show where a family is wrong."
        )
    entropy = s["entropy"]
    shown = _pair(entropy["value"], entropy["error"])
    start = (
        "A KL is a cross-entropy minus the entropy of $p_\\text{data}$, which nobody knows for data. Distances between nearest neighbours "
        f"estimate it: {shown} nats for each row."
    )
    if not entropy["reliable"]:
        reasons = _warning("; ".join(entropy["warnings"]))
        return f"{start} Here that is **not reliable** ({reasons}), and neither is any KL in the table. The differences are not touched."
    excluded = [
        name for name, family in s["families"].items() if family["reliable"] and _value(family["kl_interval"][0]) > 0
    ]
    negative = [name for name, family in s["families"].items() if _value(family["kl"]) < 0]
    if len(excluded) == len(s["families"]):
        verdict = "Zero lies outside the interval of every family: all are wrong, in ways that this many rows can show."
    elif excluded:
        verdict = (
            f"Zero lies outside the interval of {', '.join(excluded)}: with these rows they can be told to be wrong."
        )
    else:
        verdict = "No interval excludes zero: so many rows cannot show that any of the families is wrong."
    why = " A KL is never negative; the estimate of a small one can be, by chance." if negative else ""
    return f"{start} {verdict}{why} The figure shows where each family is wrong."


def _parameters(s: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = []
    for name, family in s["families"].items():
        for parameter, value in family["params"].items():
            values = np.asarray(value, dtype=object)
            for index in np.ndindex(values.shape):
                if len(index) > 1 and index[-1] < index[-2] and parameter == "cov":
                    continue  # symmetric
                label = f"{parameter}[{', '.join(str(i + 1) for i in index)}]" if index else parameter
                errors = [
                    _value(np.asarray(family[k][parameter], dtype=object)[index]) for k in ("se_hessian", "se_sandwich")
                ]
                licence = errors[1] if np.isfinite(errors[1]) else None
                number = _value(values[index])
                rows.append(
                    {
                        "family": name,
                        "parameter": literal(label),
                        "estimate": num(number, licence) if licence is not None else num(number, digits=3),
                        **{
                            key: num(error, digits=2) if np.isfinite(error) else "–"
                            for key, error in zip(("se_hessian", "se_sandwich"), errors, strict=True)
                        },
                    }
                )
    return rows


def _reverse(found: Mapping[str, Any]) -> dict[str, Any]:
    minima: Sequence[Mapping[str, Any]] = found["minima"]
    rows = [_optimum("[forward]{.forward}", found["forward"], "global minimum")]
    rows += [_optimum("[reverse]{.reverse}", point, point["status"]) for point in minima]
    spread = _size(found["forward"])
    broad = [i for i, point in enumerate(minima) if _size(point) > 0.7 * spread]
    if len(minima) == 1:
        where = "covers what the forward fit covers" if broad else "is much narrower than the forward fit"
        sentence = f"Reverse KL has one minimum here, and it {where}: no other end of an ADVI run is known."
    else:
        lowest = "broad, like the forward fit" if 0 in broad else "on a part of the data only"
        narrow = len(minima) - len(broad)
        many = (
            "none"
            if not narrow
            else "both"
            if narrow == len(minima) == 2
            else "all"
            if narrow == len(minima)
            else narrow
        )
        sentence = (
            f"Reverse KL has {len(minima)} minima here, {many} of them much narrower than the forward fit, and the "
            f"lowest is {lowest}. Which of them an ADVI run reaches depends on its start and its noise."
        )
    counted = (
        "The signs of the Hessians of all stationary points add up: nothing says that one is missing, though it is no proof."
        if found["certificate"] == "complete"
        else "The signs of the Hessians of the stationary points found do not add up, so one may be missing."
    )
    return {"target": found["target"], "rows": rows, "sentence": f"{sentence} {counted}"}


def _spreads(point: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    params = point["params"]
    if "sigma" in params:
        return np.atleast_1d(np.asarray(params["sigma"], dtype=float))
    return np.sqrt(np.diag(np.asarray(params["cov"], dtype=float)))


def _size(point: Mapping[str, Any]) -> float:
    """Geometric mean of the standard deviations, relative to nothing: compared between members only."""
    return float(np.exp(np.log(_spreads(point)).mean()))


def _optimum(direction: str, point: Mapping[str, Any], status: str) -> dict[str, str]:
    means = np.atleast_1d(np.asarray(point["params"]["mu"], dtype=float))
    sds = _spreads(point)
    mean = ", ".join(num(float(m), digits=4) for m in means)
    sd = ", ".join(num(float(v), digits=4) for v in sds)
    member = f"mean {mean}; sd {sd}" if len(means) == 1 else f"means {mean}; sds {sd}"
    return {
        "direction": direction,
        "member": member,
        "kl": num(_value(point["kl"]), _value(point["error"]), digits=4),
        "status": status,
    }


def provenance(tree: xr.DataTree, seconds: float) -> dict[str, Any]:
    """Where the numbers come from."""
    settings = json.loads(tree.attrs["settings"])
    return {
        "file": tree.attrs["name"],
        "columns": json.loads(tree.attrs["columns"]),
        "versions": json.loads(tree.attrs["versions"]),
        "settings": settings,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "run time": f"{seconds:.0f} s",
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
    }


def printed(tree: xr.DataTree) -> list[str]:
    """Lines for a terminal: the order of the families, and what to know."""
    s = summary(tree)
    width = max(map(len, ranked_names(tree)))
    lines = [f"{tree.attrs['name']}: {s['n']} rows, {', '.join(s['columns'])}; nats per row"]
    for row in _rows(s):
        unreliable = s["families"][row["family"]]["reliable"] is False
        interval = f" ({row['interval']}{', not reliable' if unreliable else ''})" if row["interval"] != "–" else ""
        lines.append(
            _plain(f"  {row['family']:{width}}  above the closest {row['difference']}; KL {row['kl']}{interval}")
        )
    return [*lines, *(f"note: {warning}" for warning in s["warnings"])]


def _plain(text: str) -> str:
    """Powers of ten without Markdown."""
    return re.sub(r"\^([^^]*)\^", lambda m: m.group(1).translate(_RAISED), text)


_RAISED = str.maketrans("0123456789−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
