"""What `duality data` says: one page, and lines for a terminal."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from analysis.own_data.figures import plot
from analysis.own_data.findings import findings, rows
from analysis.own_data.numerals import CALLED
from analysis.own_data.study import QUESTION
from analysis.own_data.summary import ranked_names, summary
from analysis.site.chapter import TEMPLATES, words_of
from analysis.site.numbers import plain, unescaped
from analysis.site.single import write_single

__all__ = ["printed", "provenance", "write"]


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
    return write_single(
        "own_data",
        partial(plot, tree),
        findings(tree),
        question=QUESTION,
        title=f"{tree.attrs['name']}: which family, and how far",
        provenance=provenance,
        output=output,
    )


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
    """Lines for a terminal: what was read, the answer, the order of the families, and what to know."""
    s, f = summary(tree), findings(tree)
    width = max(map(len, ranked_names(tree)))
    lines = _read(s)
    lines.append(f"{tree.attrs['name']}: {s['n']} rows, {', '.join(s['columns'])}; nats per row")
    templates = (Path(__file__).parent, TEMPLATES)
    answer = unescaped(plain(words_of("own_data", f, templates).answer).replace("**", ""))
    lines += [line for line in answer.splitlines() if line.strip()]
    for row in rows(s):
        unreliable = s["families"][row["family"]]["reliable"] is False and row["interval"] != "infinite"
        interval = f" ({row['interval']}{', not reliable' if unreliable else ''})" if row["interval"] != "–" else ""
        lines.append(
            plain(f"  {row['family']:{width}}  above the closest {row['difference']}; KL {row['kl']}{interval}")
        )
    return [*lines, *(f"note: {warning}" for warning in s["warnings"])]


def _read(s: Mapping[str, Any]) -> list[str]:
    """What was read of the file."""
    reading = s["reading"]
    if reading is None:
        return []
    how = [f"{key} {CALLED.get(reading[key], reading[key])}" for key in ("separator", "decimal", "thousands", "sheet", "encoding")
           if reading.get(key)]  # fmt: skip
    lines = [
        f"read: {reading['format']}{'; ' if how else ''}{', '.join(how)}; {reading['rows']} rows (counted from 1, below the names), {reading['rows_used']} used"
    ]
    for column in reading["columns"]:
        gone = f", missing {column.get('missing_marks') or column['missing']}" if column["missing"] else ""
        lines.append(
            f"  {column['name']}: first {column['first']:.10g}, min {column['min']:.10g}, max {column['max']:.10g}{gone}"
        )
    return lines + [f"  left out {entry['name']}: {entry['why']}" for entry in reading["left_out"]]
