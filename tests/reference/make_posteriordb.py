"""Take what this project needs of posteriordb's posteriors: data and moments for the question, and draws for the tests.

    python tests/reference/make_posteriordb.py FOLDER

FOLDER holds, for each posterior, ``NAME.json`` (data, model in words, moments of 10 000 gold-standard draws) and ``NAME.draws1000.npz`` (every
tenth draw). The posterior with two label modes, ``DERIVED-...``, has the data of the ordered one. Written are ``analysis/data/posteriordb/NAME.json``, one an entry, and ``tests/reference/posteriordb_draws.npz``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
#: Data that a model reads, for the entries that carry more than that.
COLUMNS = {
    "kidiq-kidscore_momiq": ["mom_iq", "kid_score"],
    "nes2000-nes": ["real_ideo", "race_adj", "age_discrete", "educ1", "gender", "income", "partyid7"],
    "gp_pois_regr-gp_regr": ["x", "y"],
    "kilpisjarvi_mod-kilpisjarvi": ["x", "y", "pmualpha", "psalpha", "pmubeta", "psbeta"],
}
#: Sizes, which the data themselves have.
SIZES = {"N", "T", "J", "D", "K"}


def compact(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Keep the data that the model reads, and mean, sd and the Monte Carlo error of the mean of every parameter."""
    keys = COLUMNS.get(name) or [key for key in entry["data"] if key not in SIZES]
    summary = entry["reference"]["summary"]
    return {
        "name": name,
        "source": entry["source"],
        "licence": "BSD 3-Clause, Copyright (c) Stan Developers and their Assignees",
        "model": entry["model"],
        "data": {key: entry["data"][key] for key in keys},
        "mean": {key: s["mean"] for key, s in summary.items()},
        "sd": {key: s["sd"] for key, s in summary.items()},
        "mcse": {key: s["mcse_mean"] for key, s in summary.items()},
    }


def main(folder: Path) -> None:
    """Write both."""
    draws = {}
    for path in sorted(folder.glob("*.json")):
        entry = json.loads(path.read_text(encoding="utf-8"))
        name = path.stem.removeprefix("DERIVED-")
        with np.load(path.with_name(f"{path.stem}.draws1000.npz")) as stored:
            assert stored["names"].tolist() == list(entry["reference"]["summary"])
            draws[name] = stored["draws"]
        if path.stem != name:  # data and moments of this one follow from another
            continue
        lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in compact(name, entry).items())
        target = ROOT / "analysis" / "data" / "posteriordb" / f"{name}.json"
        target.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    np.savez_compressed(ROOT / "tests" / "reference" / "posteriordb_draws.npz", allow_pickle=False, **draws)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
