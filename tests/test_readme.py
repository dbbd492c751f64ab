"""Every snippet of README.md runs as it stands, without a warning, and what it draws is legible."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from analysis.two_families.comparable import comparable
from analysis.two_families.targets import DATA
from models.advi import fit_dadvi
from models.results import save
from tests.analysis.bimodal import bimodal

ROOT = Path(__file__).parents[1]
SNIPPETS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
#: The user's own model.
MODEL = """
import pymc as pm

def build():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 3)
        sigma = pm.HalfNormal("sigma", 2)
        pm.Normal("y", mu, sigma, observed=[0.3, 1.2, 0.8, 2.1])
    return model
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a model, and with results where the snippets look for them."""
    mpl.use("agg")
    (tmp_path / "my_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    plt.close("all")


def model() -> Any:
    found: dict[str, Any] = {}
    exec(MODEL, found)
    return found["build"]()


def run(code: str) -> dict[str, Any]:
    """Run a snippet; warnings are errors, as everywhere in the tests."""
    names: dict[str, Any] = {"my_pymc_model": model()} if "my_pymc_model" in code else {}
    exec(compile(code, "README.md", "exec"), names)
    return names


def written_for(code: str) -> None:
    """Write the results that a snippet reads."""
    if "reports/results/mode_covering_vs_seeking.nc" in code:
        Path("reports/results").mkdir(parents=True)
        save(xr.DataTree.from_dict({"/bimodal": bimodal()}), Path("reports/results/mode_covering_vs_seeking.nc"))
    if "reports/results/two_families.nc" in code:
        Path("reports/results").mkdir(parents=True)
        (data,) = (d for d in DATA if d.name == "old_faithful_waiting")
        fits = comparable(data, starts=2, seed=0)
        tree = xr.DataTree.from_dict({f"/{data.name}/{name}": fit for name, fit in fits.items()})
        save(tree, Path("reports/results/two_families.nc"))
    if "duality-build/model.nc" in code:
        Path("duality-build").mkdir()
        optimum = fit_dadvi(model())["optimum_0"]
        save(xr.DataTree.from_dict({"/posterior": optimum["posterior"].to_dataset()}), Path("duality-build/model.nc"))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("code", SNIPPETS, ids=lambda code: code.strip().splitlines()[-1][:40])
def test_a_snippet_runs_and_draws(code: str) -> None:
    written_for(code)
    plt.close("all")
    run(code)
    figures = [plt.figure(number) for number in plt.get_fignums()]
    assert len(figures) == len(re.findall(r"^az\.plot_", code, re.M))
    for figure in figures:
        lines = [line for axis in figure.axes for line in axis.lines]
        assert lines
        assert all(np.isfinite(np.asarray(line.get_xdata(), dtype=float)).any() for line in lines)
        figure.canvas.draw()


@pytest.mark.usefixtures("folder")
def test_the_curves_of_saved_fits_are_few_and_named() -> None:
    (code,) = (code for code in SNIPPETS if "az.plot_dist" in code)
    written_for(code)
    names = run(code)
    assert len(names["fits"]) <= 5
    for number in plt.get_fignums():
        (legend,) = plt.figure(number).legends or [axis.legend_ for axis in plt.figure(number).axes if axis.legend_]
        assert [text.get_text() for text in legend.get_texts()] == list(names["fits"])
        colors = [mpl.colors.to_hex(line.get_color()) for line in legend.get_lines()]
        assert len(set(colors)) == len(colors)


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 4
