"""Small public data sets that come with the package; sources and licences are in ``data/README.md``."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

__all__ = ["DATASETS", "load_column"]

#: Data sets usable as targets known by draws: name -> (file, column).
DATASETS = {
    "old_faithful_waiting": ("old_faithful.csv", "waiting"),
    "old_faithful_eruptions": ("old_faithful.csv", "eruptions"),
    "galaxies": ("galaxies.csv", "velocity"),
}


def load_column(name: str) -> NDArray[np.float64]:
    """Return one column as (n,): minutes for both Old Faithful columns, km/s for galaxies.

    Parameters
    ----------
    name : str
        A key of ``DATASETS``.
    """
    file, column = DATASETS[name]
    with (files("analysis.data") / file).open(encoding="utf-8") as stream:
        header = stream.readline().strip().split(",")
        return np.loadtxt(stream, delimiter=",", usecols=header.index(column))
