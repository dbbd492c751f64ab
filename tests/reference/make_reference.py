"""Take the reference cases that the tests use from the full set of exact answers.

Usage: python tests/reference/make_reference.py PATH/TO/oracle.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KINDS = {
    "entropy", "kl", "cross_entropy", "alpha_divergence", "forward_projection", "reverse_stationary_points", "bifurcation",
    "sandwich", "tic",
}  # fmt: skip
#: Two-dimensional searches take seconds each, so three of five are kept.
LEFT_OUT = {"rev2d_full_rank_normal_bim_par", "rev2d_mean_field_normal_bim_cross"}
FIELDS = ("id", "kind", "inputs", "answer", "abs_tolerance", "methods", "max_disagreement")


def used(case: dict[str, Any]) -> bool:
    """Say whether a case is of a kind and a size that the tests check."""
    return case["kind"] in KINDS and case["id"] not in LEFT_OUT


def main(source: Path) -> None:
    """Write ``oracle.json`` beside this script: one case per line."""
    cases = [{k: c[k] for k in FIELDS} for c in json.loads(source.read_text(encoding="utf-8")) if used(c)]
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    (HERE / "oracle.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{len(cases)} cases", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} PATH/TO/oracle.json")
    main(Path(sys.argv[1]))
