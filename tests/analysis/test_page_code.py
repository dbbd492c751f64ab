"""The Python of the pages, run as it stands: each block in a namespace of its own, as a reader would paste it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [*sorted((ROOT / "analysis").glob("*/chapter.md")), *sorted((ROOT / "reports/templates/pages").glob("*.md"))]
BLOCK = re.compile(r"^```(?:python|\{\.python[^}\n]*\})[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EVIDENCE = re.compile(r"<%-? evidence -?%>.*?<%-? endevidence -?%>", re.DOTALL)
#: Third parties' warnings, by their words, which a reader sees too and need not act on.
THEIRS = (
    ("`find_MAP` will return an `InferenceData`", FutureWarning),  # PyMC, of a default that will change
    ("`?find_MAP`?.*jitter", FutureWarning),  # the same
    ("In a future version of xarray the default value for join", FutureWarning),  # ArviZ, of fits with unequal draws
)
#: Code that a page shows as a change of code above it, by its first line: what stands before it there, and runs before it here.
CHANGES = {
    'z = pm.Normal("z", 0, 1, dims="school")': """
import pymc as pm
model = pm.Model(coords={"school": list("ABCDEFGH")}).__enter__()
mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
""",
}

#: What the words around a block say of it, by its page and a line that no other block there has: true of its names once it has run.
SAID = {
    ("diagnosing_missed_modes", "found = optima(fit)"): "sorted(found['k_hat'].values > 0.7) == [False, True]",
    ("practice", "fit = fit_dadvi(my_model)"): "found['k_hat'].item() > 0.7",
    ("two_families", "difference = kl_difference("): (
        "difference.value > 0 and not difference.reliable and any('heavy' in words for words in difference.warnings)"
    ),
    ("initialisation", "runs = {}"): (
        "runs['from mean 3.0, sd 5.0']['posterior']['x'].std() > 2 > 1.5 > runs['from mean 0.5, sd 0.3']['posterior']['x'].std()"
    ),
    ("separation_sweep", "runs = {}"): (
        "runs['wide, middle']['posterior']['x'].std() > 2 > 1.5 > runs['narrow, on a mode']['posterior']['x'].std()"
    ),
    ("advi_accuracy", "draws = {}"): (
        'draws["PyMC\'s default"]["posterior"]["x"].std() > 1.05 * draws["wide window"]["posterior"]["x"].std()'
    ),
    ("mean_field_vs_full_rank", "mean_field = fit_dadvi(model)"): (
        "np.allclose(linear_response(mean_field).cov, np.cov([full_rank['optimum_0/posterior'][k].values.ravel()"
        " for k in ('intercept', 'slope')]), rtol=0.1)"
        " and mean_field['optimum_0/posterior']['slope'].std() < 0.3 * full_rank['optimum_0/posterior']['slope'].std()"
    ),
    ("posterior_modes", "found = optima(fit)"): "found.sizes['optimum'] == 3",
    ("own_model", "tree = examine(model, budget_s=60)"): (
        "'is too narrow' in tree.attrs['sentence'] and 'linear response gives it' in tree.attrs['sentence']"
    ),
}


class Block(NamedTuple):
    """Code of a page, and the line of its first line."""

    path: Path
    line: int
    code: str

    @property
    def page(self) -> str:
        return self.path.parent.name if self.path.stem == "chapter" else self.path.stem

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of the main part: what stands between marks of evidence is blanked, so that lines keep their numbers."""
    text = EVIDENCE.sub(lambda found: "\n" * found[0].count("\n"), path.read_text(encoding="utf-8"))
    for found in BLOCK.finditer(text):
        yield Block(path, text.count("\n", 0, found.start(1)) + 1, found[1])


ALL = [block for path in SOURCES for block in blocks(path)]


def test_blocks_are_found() -> None:
    assert set(CHANGES) <= {block.code.partition("\n")[0] for block in ALL}
    for page, line in SAID:
        assert [block.code.count(line) for block in ALL if block.page == page and line in block.code] == [1]
    fences = sum(EVIDENCE.sub("", p.read_text(encoding="utf-8")).count("```python") for p in SOURCES)
    assert len(ALL) == fences > 10


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.name)
def test_code_is_no_template(block: Block) -> None:
    """Code is the same whatever the findings are: no value, condition or comment of Jinja stands in it."""
    assert not re.search(r"<<|<%|<#", block.code)
    compile(block.code, block.name, "exec")
    assert not [line for line in block.code.splitlines() if len(line) > 70], "a page shows 70 characters"


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", ALL, ids=lambda block: block.name)
def test_code_runs_as_it_stands(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the project's filter of warnings, in an empty folder, without a screen; and what is said of it is so."""
    monkeypatch.chdir(tmp_path)
    code = compile("\n" * (block.line - 1) + block.code, str(block.path), "exec")  # lines of a traceback are the page's
    with mpl.rc_context({"backend": "agg"}), warnings.catch_warnings():
        for words, kind in THEIRS:
            warnings.filterwarnings("ignore", words, kind)
        import matplotlib.pyplot as plt

        namespace: dict[str, Any] = {"__name__": "__main__"}
        change = CHANGES.get(block.code.partition("\n")[0])
        with ExitStack() as after:
            if change is not None:
                exec(change, namespace)
                after.callback(namespace["model"].__exit__, None, None, None)
            exec(code, namespace)
        plt.close("all")
    for (page, line), said in SAID.items():
        assert page != block.page or line not in block.code or eval(said, namespace), said
