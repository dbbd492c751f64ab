"""Numbers and truth values of the page on your own model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis.own_model.figures import DRAWN, LISTED, beside, drawn_draws, spikes, worst
from analysis.own_model.summary import open_moments, summary
from analysis.site.numbers import est, literal, num, pct
from models.own_model.verdict import written_k_hat

__all__ = ["astray", "findings", "mixed", "optima_rows", "told", "written_moments", "written_response"]

_FINE = 1e-3  # error of a share, below which its further digits are left out
_SHOWN = 4  # variables with columns of their own in the table of optima


def findings(tree: xr.DataTree) -> dict[str, Any]:
    """Every number that the page states, and every truth value that its sentences turn on.

    Parameters
    ----------
    tree : xarray.DataTree

    Returns
    -------
    dict
    """
    s = summary(tree)
    found: dict[str, Any] = {
        "name": literal(s["name"]),
        "grade": s["verdict"]["grade"],
        "told": told(s["verdict"]),
        "sentence": literal(s["verdict"]["sentence"]),
        "warnings": [literal(w).replace("--budget", "`--budget`") for w in s["warnings"]],
        "seconds": s["seconds"],
        "budget": float(tree.attrs["budget_s"]),
        "improper": not s["optima"],
    }
    if found["improper"]:
        return found
    names = worst(tree["comparison"].to_dataset(), LISTED)
    rows = _variable_rows(s, names[:_SHOWN])
    return found | {
        "starts": s["starts"],
        "at_rest": [o["at_rest"] for o in s["optima"]],
        "optima": optima_rows(s),
        "found": len(s["optima"]),
        "spikes": [literal(name) for name in spikes(tree)],
        "mixed": mixed(s),
        "alone": [*s["mixture"]] == ["optimum 1"],
        "lacks": s["mixture_lacks"]["value"] if s["mixture_lacks"] else 0.0,
        "weights": sum(part["weight"] or 0.0 for part in s["mixture"].values()),
        "saved": tree["posterior"].attrs.get("source"),
        "astray": astray(s),
        "variables": rows,
        "truth": next(iter(drawn_draws(tree))),
        "far": any("–" in (row["mean"], row["sd"]) and "reference" not in str(row["source"]) for row in rows),
        "doubtful": any("?" in str(row["response"]) for row in rows),
        "has_response": "linear_response" in tree.children,
        "count": tree["comparison"].sizes["variable"],
        "compared": len(beside(tree["comparison"].to_dataset())),
        "open": [literal(name) for name in open_moments(tree)],
        "drawn": min(DRAWN, len(names)),
        "modes": _mode_rows(s),
        "light": sum(
            name.startswith("mode") and int(name.split()[1]) not in {mode["mode"] for mode in s["modes"]}
            for name in s["mixture"]
        ),
        "ridge": int(tree.attrs.get("ridge", 0)),
        "uncovered": sum(not mode["covered"] for mode in s["modes"]),
        "divergences": _divergence_rows(tree["divergences"].to_dataset(), [*s["mixture"]] != ["optimum 1"]),
        "reference": _reference(s, tree),
        "bounds": _bounds(s, tree),
    }


def told(verdict: Mapping[str, str]) -> bool:
    """Whether the sentence of a verdict says enough without its grade: as ``cannot tell`` does, under which much is told (see `judge`)."""
    return verdict["grade"] == "cannot tell" or verdict["grade"] in verdict["sentence"]


def _percent(value: float | None) -> str:
    return "–" if value is None else pct(value)


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else num(value, digits=digits)


def _k_hat(value: float | None) -> str:
    return "–" if value is None else num(value, digits=2) if value <= 1 else written_k_hat(value)


def _pair(value: float | None, error: float | None) -> str:
    if value is None:
        return "–"
    return num(value, digits=3) if error is None else est({"value": value, "error": error})


def mixed(s: Mapping[str, Any]) -> bool:
    """Whether the mixture has weights: a single component has none to speak of."""
    return len(s["mixture"]) > 1


def astray(s: Mapping[str, Any]) -> float:
    """Share of the starts that had a finite loss and led to none of the optima."""
    left = 1 - sum(o["share_of_starts"] for o in s["optima"]) - s["starts"]["failed"] / s["starts"]["tried"]
    return left if left > 1e-9 else 0.0


def optima_rows(s: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Optima, the highest ELBO first, then what else the mixture is made of, as a table shows them: the weights sum to one."""
    parts = s["mixture"] if mixed(s) else {}
    # Those of a grid have more digits than anybody reads.
    weights = {name: pct(part["weight"], max(part["error"] or 0.0, _FINE)) for name, part in parts.items()}
    rows = [
        {
            "optimum": f"{k + 1}",
            "elbo": _pair(o["elbo"], o["elbo_se"]),
            "starts": _percent(o["share_of_starts"]),
            "weight": weights.pop(f"optimum {k + 1}", "–"),
            "verdict": literal(o["verdict"]),
            "k_hat": _k_hat(o["k_hat"]),
            "k_hat_response": _k_hat(o["k_hat_linear_response"]),
        }
        for k, o in enumerate(s["optima"])
    ]
    nothing = dict.fromkeys(rows[0], "–")
    return rows + [
        nothing | {"optimum": name, "weight": weight, "verdict": "no optimum met there"}
        for name, weight in weights.items()
    ]


def _variable_rows(s: Mapping[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """A few variables at every optimum, those with the same numbers in one row, and in the reference."""
    sources = {f"optimum {k + 1}": o for k, o in enumerate(s["optima"])}
    if s["reference"]:
        doubt = "" if s["reference"]["ok"] else ", not to be relied on"
        sources[f"reference ({s['reference']['method']}{doubt})"] = s["reference"]
    rows: list[dict[str, Any]] = []
    values: dict[str, tuple[str, str, str]] = {}
    for name in names:
        alike: dict[tuple[str, str, str], list[str]] = {}  # images of one optimum have the same numbers
        for source, node in sources.items():
            written = *written_moments(node, name), written_response(node, name)
            alike.setdefault(written if source.startswith("optimum") else (source, *written[1:]), []).append(source)
            values[source] = written
        for group in alike.values():
            mean, sd, response = values[group[0]]
            source = ", ".join([group[0], *(other.removeprefix("optimum ") for other in group[1:])])
            rows.append({"variable": literal(name), "source": source, "mean": mean, "sd": sd, "response": response})
    return rows


def written_response(node: Mapping[str, Any], name: str) -> str:
    """Write the sd of a variable by linear response, with a question mark where it is not trusted; a dash where there is none, as in the reference."""
    sd = node["variables"][name].get("sd_linear_response")
    return _number(sd) + (" ?" if name in node.get("sd_linear_response_not_trusted", ()) else "")


def written_moments(node: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Mean and sd of a variable at an optimum, or in the reference, to the digits that their errors support.

    What a reference leaves open is a dash. A mean has no more than two digits of a tenth of its sd: more would say nothing to who reads it beside the sd.
    """
    value, error = node["variables"][name], node["errors"][name]
    mean, sd = value["mean"], value["sd"]
    written = "–"
    if mean is not None and error["mean"] is not None:
        written = num(mean, max((sd or 0.0) / 10, error["mean"]), digits=None if sd else 3)
    return written, "–" if sd is None else num(sd, error["sd"] or None, digits=3)


def _mode_rows(s: Mapping[str, Any]) -> list[dict[str, Any]]:
    def mass(m: Mapping[str, float | None] | None) -> str:
        if m is None or m["lower"] is None:
            return "–" if m is None else f"{_percent(m['value'])} (not to be relied on)"
        return f"{_percent(m['value'])} [{_percent(m['lower'])}, {_percent(m['upper'])}]"

    return [{"mode": mode["mode"], "mass": mass(mode["mass"]), "covered": mode["covered"]} for mode in s["modes"]]


def _divergence_rows(table: xr.Dataset, several: bool) -> list[dict[str, Any]]:
    """KL of each approximation, an infinite one shown as such; a mixture of the first optimum alone is one of the others."""

    def written(value: float, error: float) -> str:
        return "–" if np.isnan(value) else est({"value": value, "error": error})

    return [
        {
            "approximation": str(name),
            **{way: written(float(table[way][i]), float(table[f"{way}_se"][i])) for way in ("reverse", "forward")},
        }
        for i, name in enumerate(table["approximation"].to_numpy())
        if several or name != "mixture"
    ]


def _reference(s: Mapping[str, Any], tree: xr.DataTree) -> dict[str, Any] | None:
    if s["reference"] is None:
        return None
    draws = tree["reference/posterior"]
    return {
        "method": s["reference"]["method"],
        "ok": s["reference"]["ok"],
        "reasons": [literal(reason) for reason in s["reference"]["reasons"]],
        "chains": draws.sizes["chain"],
        "draws": draws.sizes["draw"],
        "looks": float(tree["reference"].attrs["looks"]),
    }


def _bounds(s: Mapping[str, Any], tree: xr.DataTree) -> dict[str, Any] | None:
    """What short chains show of the first optimum, the worst variables first; ``None`` where there was no need of them, or no time."""
    if not s["lower_bounds"]:
        return None
    first = s["lower_bounds"][0]
    shown = {name: v for name, v in first.items() if v["mean_error"] or v["sd_factor"] != 1}
    order = sorted(shown, key=lambda name: -max(abs(np.log(shown[name]["sd_factor"])), abs(shown[name]["mean_error"])))
    return {
        "rows": [
            {
                "variable": literal(name),
                "mean": num(abs(shown[name]["mean_error"]), digits=2) if shown[name]["mean_error"] else "–",
                "sd": _factor(shown[name]["sd_factor"]),
            }
            for name in order[:LISTED]
        ],
        "shown": len(shown),
        "count": len(first),
        "moves": int(tree["lower_bounds"].to_dataset()["moves"][0]),
        "correlation": max(v["correlation"] for v in first.values() if v["correlation"] is not None),
    }


def _factor(factor: float) -> str:
    return "–" if factor == 1 else f"{'≥' if factor > 1 else '≤'} {num(factor, digits=3)}"
