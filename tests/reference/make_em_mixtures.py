"""Best log likelihood of Normal mixtures that scikit-learn's EM finds from 50 starts, on the data sets of the report.

Usage: python -m tests.reference.make_em_mixtures
"""

from __future__ import annotations

import warnings
from importlib.metadata import version

import numpy as np
from sklearn.mixture import GaussianMixture

from analysis.data.columns import load_column
from analysis.two_families.study import DATA, EM_FILE

STARTS = 50
#: Largest number of components. Beyond it EM takes tens of seconds for Old Faithful, whose waiting times are rounded.
LARGEST = {"old_faithful_waiting": 3, "old_faithful_eruptions": 3, "galaxies": 6}


def best_of_em(name: str, components: int) -> float:
    """Log likelihood (nats, in the unit in which the report fits the column) of the best of `STARTS` runs."""
    x = load_column(name) / next(data.divisor for data in DATA if data.name == name)
    z = ((x - x.mean()) / x.std())[:, None]
    with warnings.catch_warnings():  # a run that has not converged may still be the best
        warnings.simplefilter("ignore")
        em = GaussianMixture(components, n_init=STARTS, random_state=0, max_iter=1000, tol=1e-7).fit(z)
    return float(em.score(z) * len(x) - len(x) * np.log(x.std()))


def main() -> None:
    """Write the file that comes with the package."""
    rows = [f"{name},{k},{best_of_em(name, k):.9f}" for name, largest in LARGEST.items() for k in range(1, largest + 1)]
    head = f"# scikit-learn {version('scikit-learn')}, {STARTS} starts\ndata,components,log_likelihood"
    EM_FILE.write_text("\n".join([head, *rows, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
