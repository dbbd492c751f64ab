"""Numbers and truth values of the report on your own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from analysis.own_data.judging import FEWEST
from analysis.own_data.numerals import CALLED
from analysis.own_data.ranking import SAME
from analysis.own_data.summary import DRAWN, MARGINS, SHOWN, summary
from analysis.site.numbers import est, literal, num, pct

__all__ = ["findings", "rows"]

_TO = "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}"
#: Mass outside the support of the data that is not worth a word.
_LITTLE = 0.001


def _warning(text: str) -> str:
    return literal(text).replace("--jitter", "`--jitter`")


def findings(tree: xr.DataTree) -> dict[str, Any]:
    """Every number that the report states, and every truth value that its sentences turn on.

    Parameters
    ----------
    tree : xarray.DataTree

    Returns
    -------
    dict
    """
    s = summary(tree)
    best, *others = s["ranking"]
    family = s["families"][best["family"]]
    same = [entry["family"] for entry in others if _same(entry)]
    few = int(tree.attrs["size"]) < FEWEST
    apart = [entry for entry in others if entry["outside"] and _rivals(entry, few)]
    behind = [entry["family"] for entry in others if entry["clear"]]
    beside = [e["family"] for e in others if not (e["clear"] or e["outside"] or e["family"] in same)]
    following = next((e for e in others if e["family"] not in same and not e["outside"]), None)
    low, high = (_value(end) for end in family["kl_interval"] or (None, None))
    return {
        "name": literal(tree.attrs["name"]),
        "total": s["rows"],
        "n": s["n"],
        "lost": (s["rows"] - s["n"]) / s["rows"],
        "columns": [literal(name) for name in s["columns"]],
        "warnings": [_warning(warning) for warning in s["warnings"]],
        "level": f"{pct(s['level'], digits=3).removesuffix('.0%').removesuffix('%')}% interval",
        "best": best["family"],
        "count": len(s["ranking"]),
        "compared": sum(not entry["outside"] for entry in s["ranking"]),
        "next": following and {"family": following["family"], "difference": _difference(following)},
        "same": same,
        "apart": [_apart(entry) for entry in apart],
        "unjudged": best["outside"] and best["outside"]["rows"],
        "size": int(tree.attrs["size"]),
        "has_errors": not few,
        "behind": behind,
        "beside": beside,
        "simplest": _simplest(s, [best["family"], *beside]),
        "carried": {entry["family"]: _carries(by) for entry in others if (by := entry["carried_by"])},
        "errors_apart": 2.0,
        "infinite": family["kl"] == "inf",
        "discrete": bool(s["values"] and s["values"]["kind"] == "counts"),
        "kind": None if s["values"] is None else s["values"]["kind"],
        "lacking": _lacking(s),
        "outside": _outside(s),
        "reading": _reading(s),
        "weighted": bool(s["reading"] and s["reading"]["weights"]),
        "shown": min(SHOWN, len(s["ranking"])),
        "known": family["kl_interval"] is not None,
        "reliable": bool(family["reliable"]),
        "excludes_zero": bool(low > 0),
        "bound": num(high, _value(family["kl_error"])),
        "interval": _interval(family) if family["kl_interval"] is not None else "",
        "entropy": None if s["entropy"] is None else _entropy(s),
        "rows": rows(s),
        "parameters": _parameters(s),
        "drawn": min(DRAWN, s["n"]),
        "margins": MARGINS,
        **({"reverse": _reverse(s["reverse"])} if s["reverse"] else {}),
    }  # fmt: skip


def _entropy(s: Mapping[str, Any]) -> dict[str, Any]:
    excluded = [
        name for name, family in s["families"].items() if family["reliable"] and _value(family["kl_interval"][0]) > 0
    ]
    return {
        "shown": _pair(s["entropy"]["value"], s["entropy"]["error"]),
        "reliable": s["entropy"]["reliable"],
        "reasons": _warning("; ".join(s["entropy"]["warnings"])),
        "excluded": excluded,
        "excludes_all": len(excluded) == len(s["families"]),
        "infinite": s["entropy"]["value"] == "-inf",
        "told": s["entropy"]["value"] is not None,
        "negative": any(_value(family["kl"]) < 0 for family in s["families"].values()),
    }


def _value(number: Any) -> float:
    return np.nan if number is None else float(number)


def _interval(family: Mapping[str, Any]) -> str:
    low, high = (_value(end) for end in family["kl_interval"])
    if np.isinf(low):
        return "infinite"
    if np.isinf(high):
        return "not told"
    error = _value(family["kl_error"])
    return f"{num(low, error if np.isfinite(error) else None)}{_TO}{num(high, error if np.isfinite(error) else None)}"


def _pair(value: Any, error: Any) -> str:
    if value is None:
        return "–"
    if error is None:
        return num(_value(value), digits=3)
    return est({"value": _value(value), "error": _value(error)})


def _difference(entry: Mapping[str, Any]) -> str:
    """A difference with its standard error, where one row does not carry it."""
    return _pair(entry["kl_difference"], None if entry["carried_by"] else entry["se"])


def _same(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of the order is the same fit as the first."""
    return bool(abs(_value(entry["kl_difference"])) < SAME)


def _rivals(entry: Mapping[str, Any], few: bool) -> bool:
    """Whether a family that leave-one-out cannot judge on all rows may be closer than the first, by the others; of few, is so on them."""
    return not (_value(entry["outside"]["others"]["kl_difference"]) > 0 if few else entry["clear"])


def _apart(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A family that leave-one-out cannot judge on all rows, and may be closer than the first."""
    others = entry["outside"]["others"]
    value = _value(others["kl_difference"])
    size = _pair(abs(value), others["se"]) if np.isfinite(value) else None
    return {"family": entry["family"], "rows": entry["outside"]["rows"], "size": size, "closer": bool(value < 0)}


def _shown(entry: Mapping[str, Any]) -> str:
    """A difference as a table shows it."""
    if _same(entry):
        return "0 (the same fit)"
    if not entry["outside"] or entry["outside"]["others"]["kl_difference"] is None:
        return _difference(entry)
    others = entry["outside"]["others"]
    return f"{_difference(entry)} ({_pair(others['kl_difference'], others['se'])} on the other {others['rows']} rows)"


def rows(s: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Families, the closest first, as a table shows them."""
    found = []
    for i, entry in enumerate(s["ranking"]):
        family = s["families"][entry["family"]]
        known = family["kl_interval"] is not None
        notes = [] if family["status"] == "converged" else [family["status"]]
        notes += [f"of {family['of']}"] if family["of"] != "x" else []
        notes += [f"row {by['row']} {_carries(by)} the difference"] if (by := entry["carried_by"]) else []
        if ((family["mass_outside"] or {}).get("support") or 0) > _LITTLE:
            notes.append(f"{pct(family['mass_outside']['support'], digits=2)} of its mass outside the support")
        if known and not family["reliable"] and family["kl"] != "inf":
            notes.append("KL not reliable")
        found.append(
            {
                "family": entry["family"],
                "difference": "0" if i == 0 else _shown(entry),
                "kl": _pair(family["kl"], family["kl_error"]) if known else "–",
                "interval": _interval(family) if known else "–",
                "note": literal("; ".join(notes)) or None,
            }
        )
    return found


def _carries(by: Mapping[str, Any]) -> str:
    """What the row that outweighs the others does to a difference."""
    return "carries" if _value(by["share"]) > 0 else "speaks against"


def _simplest(s: Mapping[str, Any], names: Sequence[str]) -> str:
    """Of families, the one with the fewest numbers to fit; the closest of several."""
    return min(names, key=lambda name: sum(np.size(value) for value in s["families"][name]["params"].values()))


def _lacking(s: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Mass that no density has: of a value, of counts, or on a relation between columns."""
    values = s["values"] or {"atoms": [], "singular": []}
    found = [
        {"kind": "value", "told": f"{atom['value']:g}", "share": atom["share"], "columns": []}
        for atom in values["atoms"]
    ]
    return [
        part
        | {
            "told": literal(part["told"]),
            "share": pct(part["share"], digits=3),
            "columns": [*map(literal, part["columns"])],
        }
        for part in (*found, *values["singular"])
    ]


def _outside(s: Mapping[str, Any]) -> list[dict[str, str]]:
    """Families with mass where the data can have none, and how much."""
    found = []
    for name, family in s["families"].items():
        share = (family["mass_outside"] or {}).get("support")
        if share is not None and share > _LITTLE:
            found.append({"family": name, "share": pct(share, digits=2)})
    return found


def _reading(s: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was read of the file, for the first lines of the answer."""
    reading = s["reading"]
    if reading is None:
        return None
    how = [reading["format"]]
    if "separator" in reading:
        alone = reading["separator"] == "none"
        how.append("one column" if alone else f"separator {reading['separator']}")
    if "decimal" in reading:
        how.append(f"decimal {CALLED[reading['decimal']]}")
        how += [f"thousands {CALLED[reading['thousands']]}"] if reading["thousands"] else []
    how += [f"sheet {literal(reading['sheet'])}"] if "sheet" in reading else []
    how += [reading["encoding"]] if reading.get("encoding", "utf-8") != "utf-8" else []
    return {
        "how": ", ".join(how),
        "rows": reading["rows"],
        "used": reading["rows_used"],
        "columns": [
            {
                "name": literal(column["name"]),
                **{key: f"{column[key]:.10g}" for key in ("first", "min", "max")},
                "missing": column["missing"] and literal(column.get("missing_marks") or str(column["missing"])),
            }
            for column in reading["columns"]
        ],
        "left_out": [{"name": literal(c["name"]), "why": literal(c["why"])} for c in reading["left_out"]],
        "notes": [literal(note) for note in reading["notes"]],
        "weights": reading["weights"] and literal(reading["weights"]),
    }


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
    return {
        "target": found["target"],
        "rows": rows,
        "minima": len(minima),
        "narrow": len(minima) - len(broad),
        "lowest_is_broad": 0 in broad,
        "consistent": found["certificate"] == "consistent",
    }


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
