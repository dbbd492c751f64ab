"""The full study of estimates from draws: 500 samples for each target, with infomeasure beside the rest.

Usage: uv run --with infomeasure python tests/reference/make_unknown_study.py

infomeasure comes under the AGPL and is no dependency of the project; only its numbers are stored.
"""

from __future__ import annotations

import datetime as dt
import json
from importlib.metadata import version

import infomeasure  # type: ignore[import-not-found]
import numpy as np

from analysis.reading import dataset_of
from analysis.unknown_p_data.findings import FULL_FILE
from analysis.unknown_p_data.study import SUMMARIES, TAILS, Array, N, Settings, run_tails, run_target
from analysis.unknown_p_data.targets import NAMES

PACKAGES = ("infomeasure", "scipy", "numpy", "arviz")


def by_infomeasure(x: Array, log_q: Array, _: Array) -> float:
    """Cross-entropy minus infomeasure's nearest-neighbour entropy, with its defaults."""
    data = x[:, 0] if x.shape[1] == 1 else x
    return float(-log_q.mean() - infomeasure.entropy(data, approach="metric"))


def tail_rows(settings: Settings) -> list[list[str]]:
    """Rows of the study of tails, whose targets are named ``tail NAME``."""
    data = dataset_of(run_tails(settings), "/")
    return [
        [f"tail {name}", "1", "kl", str(N), *(_written(float(data[key].sel(tail=name))) for key in SUMMARIES)]
        for name in TAILS
    ]


def main() -> None:
    """Write the file that comes with the package."""
    settings = Settings.preset("full")
    rows = [["target", "dim", "estimator", "n", *SUMMARIES]]
    for name in NAMES:
        data = dataset_of(run_target(name, settings, {"infomeasure": by_infomeasure}), "/")
        for estimator in data["estimator"].to_numpy():
            for n in data["n"].to_numpy():
                found = [float(data[key].sel(estimator=estimator, n=n)) for key in SUMMARIES]
                if np.isfinite(found[SUMMARIES.index("bias")]):
                    rows.append([name, str(int(data["dim"])), str(estimator), str(n), *map(_written, found)])
        print(name, flush=True)
    rows += tail_rows(settings)
    source = {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "versions": {package: version(package) for package in PACKAGES},
        "settings": settings.model_dump(),
    }
    text = "\n".join(",".join(row) for row in rows)
    FULL_FILE.write_text(f"# {json.dumps(source)}\n{text}\n", encoding="utf-8")


def _written(value: float) -> str:
    return "" if np.isnan(value) else np.format_float_positional(value, 6, fractional=False, trim="-")


if __name__ == "__main__":
    main()
