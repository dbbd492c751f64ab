"""The playground: its numbers are those of `models`, its links come back, and it works under the page's content policy."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from analysis.site.chapter import TEMPLATES
from models.divergences import kl
from models.families import FAMILIES
from models.projections import forward_projection, reverse_projections
from models.targets import Target, normal_mixture

SCRIPT, STYLE, FRAGMENT = (TEMPLATES / f"play.{kind}" for kind in ("js", "css", "html"))
POLICY = "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

#: Mixtures by weight, mean and sd.
MIXTURES = {
    "equal": [[0.5, -3, 1], [0.5, 3, 1]],
    "apart": [[0.5, -5, 1], [0.5, 5, 1]],
    "unequal": [[0.3, -3, 1], [0.7, 3, 1]],
    "three": [[0.3, -4.5, 0.9], [0.4, 0, 0.9], [0.3, 4.5, 0.9]],
    "narrow and wide": [[0.6, -1, 2.5], [0.4, 2.5, 0.35]],
    "three, none like another": [[0.2, -6.5, 0.25], [0.5, 0, 3], [0.3, 2, 0.4]],
}
#: Normals q by mean and sd, up to the ends of what can be set.
MEMBERS = [[0, 1], [1.2, 1.3], [-3, 0.2], [4.5, 6], [-8, 0.7]]
#: Sharp bends of log p, which quadrature finds hardest.
SHARP = [[[0.5, -7, 0.2], [0.5, 7, 0.2]], [[0.95, 0, 4], [0.05, 1, 0.2]]]
STATES = [
    {"modes": [[0.5, -3, 1], [0.5, 3, 1]], "q": [1.2, 1.3]},
    {"modes": [[1, 7, 0.2]], "q": [-9, 9]},
    {"modes": [[0.3333, -7, 4], [0.3333, 0.01, 0.25], [0.3334, 6.99, 1.5]], "q": [0.1234, 0.2]},
]
MALFORMED = [
    "", "#", "#fig-hero", "#play1=", "#play1=~", "#play1=a,b,c~0,1", "#play1=1,0,1", "#play1=1,0,1~0", "#play1=1,0,1~0,1~0,1", "#play1=1,0,0~0,1",
    "#play1=1,0,1~0,-1", "#play1=1,0,1e9~0,1", "#play1=1,0,NaN~0,1", "#play1=0,0,1~0,1", "#play1=1,99,1~0,1", "#play2=1,0,1~0,1", "#play1=1,,1~0,1",
    "#play1=1,0,1_1,0,1_1,0,1_1,0,1~0,1", "#play1=1,0,1~1e9,1", "#play1=1,0,1e99~0,1", "#play1=1,0,1~0,1e-9", "#play1=1,0,1_~0,1", "#play1=" + "1,0,1_" * 200, "#play1=%E0%A4%A~0,1", "#play1=1,0,1~0,1<script>",
]  # fmt: skip

#: What is wrong with a link, as the page says it; nothing of a link that leads elsewhere.
REFUSED = {
    "#fig-hero": None,
    "#play1=1,0,1~0,1": None,
    "#play1=1,0,NaN~0,1": "it cannot be read",
    "#play1=1,0,1~0,1<script>": "it cannot be read",
    "#play1=1,0,1~1e9,1": "the mean of q of 1000000000 is not between \N{MINUS SIGN}9 and 9",
    "#play1=1,0,-1~0,1": "an sd of \N{MINUS SIGN}1 is not between 0.2 and 4",
    "#play1=1,0,1~0,-1": "the sd of q of \N{MINUS SIGN}1 is not between 0.2 and 9",
    "#play1=" + "1,0,1_" * 49 + "1,0,1~0,1": "it has 50 modes, and at most 3 can be shown",
}

CHECK = """
// Without a screen no frames are drawn, and nothing is observed.
globalThis.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 16);
globalThis.cancelAnimationFrame = clearTimeout;
let resized = null;
globalThis.ResizeObserver = class {
  constructor(callback) { resized = callback; }
  observe() {}
};
const problems = [];
addEventListener("error", (event) => problems.push("error: " + event.message), true);
addEventListener("unhandledrejection", (event) => problems.push("rejected: " + event.reason));
addEventListener("securitypolicyviolation", (event) => problems.push("blocked: " + event.blockedURI));
addEventListener("load", async () => {
  const given = JSON.parse(atob(document.body.dataset.given));
  const { duality } = globalThis;
  const root = document.querySelector(".play");
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const one = (selector) => root.querySelector(selector);
  const words = () => one(".play-words").textContent;
  const report = () => one(".play-run-words").textContent;
  const verdict = {};

  verdict.mixtures = Object.fromEntries(Object.entries(given.mixtures).map(([name, modes]) => {
    const target = duality.makeTarget(modes);
    const { points, consistent } = duality.explore(target);
    const quick = duality.explore(target, false).points.length;
    const kl = given.members.map(([m, s]) => [duality.klForward(target, m, s), duality.klReverse(target, m, s)]);
    return [name, { forward: duality.forward(target), points, consistent, quick, kl }];
  }));
  verdict.sharp = given.sharp.map((modes) => {
    const target = duality.makeTarget(modes);
    return given.members.map(([m, s]) => [duality.klForward(target, m, s), duality.klReverse(target, m, s)]);
  });
  const equal = duality.makeTarget(given.mixtures.equal);
  verdict.slopes = given.members.map(([m, s]) => {
    const value = (u, v) => duality.reverse(equal, u, v);
    const [u, v, h] = [m, Math.log(s), 1e-4];
    const differences = (pick) => [(pick(value(u + h, v)) - pick(value(u - h, v))) / (2 * h), (pick(value(u, v + h)) - pick(value(u, v - h))) / (2 * h)];
    const { gradient, hessian } = value(u, v);
    return {
      gradient, hessian,
      byDifference: differences((r) => r.kl),
      hessianByDifference: [...differences((r) => r.gradient[0]), differences((r) => r.gradient[1])[1]],
    };
  });
  verdict.advi = Object.fromEntries(["adagrad_window", "adam"].map((rule) => [rule, [1, 2, 3, 4].map((seed) => {
    const runs = [1, 2].map(() => duality.makeAdvi(equal, 2, 1.2, seed, rule).advance(1e6));
    return [runs[0].mu, runs[0].sigma, runs[1].mu, runs[1].sigma];
  })]));
  verdict.mass = [duality.covers(equal, 3, 1), duality.covers(equal, 0, 3), duality.missed(equal, 3, 1), duality.missed(equal, 0, 4)];
  verdict.links = given.states.map((state) => [duality.encode(state), duality.decode(duality.encode(state))]);
  verdict.malformed = given.malformed.map((hash) => duality.decode(hash));
  verdict.refused = given.refused.map((hash) => duality.readLink(hash).why ?? null);
  verdict.presets = duality.PRESETS.map(({ modes, q }) => duality.decode(duality.encode({ modes, q })) !== null);

  // The page, as it was opened, with a link that cannot be read
  await wait(400);
  verdict.first = { words: words(), report: report(), still: one(".play-still").hidden, hash: location.hash };
  verdict.handles = [...root.querySelectorAll('[role="slider"]')].map((node) => ["tabindex", "aria-label", "aria-valuenow", "aria-valuetext"].map((name) => node.getAttribute(name)));
  location.hash = duality.encode(given.states[1]);
  await wait(600);
  verdict.linked = { words: words(), hash: location.hash };
  location.hash = "#play1=1,0,-1~0,1";
  await wait(300);
  verdict.unlinked = { report: report(), words: words() };
  verdict.pressed = [];
  for (const button of root.querySelectorAll(".play-presets button")) {
    button.click();
    await wait(400);
    verdict.pressed.push([button.textContent, button.getAttribute("aria-pressed"), words(), location.hash]);
  }
  one(".play-presets button").click();
  await wait(400);
  const key = (node, name) => node.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
  const read = () => [...root.querySelectorAll('[role="slider"]')].map((node) => node.getAttribute("aria-valuenow"));
  for (const node of root.querySelectorAll('[role="slider"]')) key(node, "ArrowRight");
  await wait(400);
  verdict.keyed = read();
  const q = one(".play-main .of-q.mean");
  const box = q.querySelector(".grip").getBoundingClientRect();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const point = (type, dx) => q.dispatchEvent(new PointerEvent(type, { clientX: x + dx, clientY: y, pointerId: 1, bubbles: true }));
  point("pointerdown", 0);
  point("pointermove", 60);
  point("pointerup", 60);
  await wait(400);
  verdict.dragged = read();
  one(".play-presets button").click();
  one(".play-descend").click();
  await wait(400);
  verdict.descended = [report(), location.hash];
  one(".play-presets button").click();
  one(".play-advi").click();
  await wait(800);
  verdict.ran = report();
  one(".play-again").click();
  await wait(800);
  verdict.again = report();
  one(".play-add").click();
  await wait(400);
  verdict.added = words();

  verdict.widths = [];
  for (const width of [1200, 390, 320]) {
    document.body.style.width = width + "px";
    resized();
    await wait(400);
    const limit = root.getBoundingClientRect().right + 12;  // the page has that much of a margin
    const shown = [...root.querySelectorAll("*")].filter((node) => node.checkVisibility() && !node.closest(".play-clip"));
    verdict.widths.push({
      width,
      over: shown.filter((node) => node.getBoundingClientRect().right > limit).map((node) => node.outerHTML.slice(0, 80)),
      small: shown.filter((node) => node.textContent.trim() && parseFloat(getComputedStyle(node).fontSize) < 11).map((node) => node.textContent),
    });
  }
  verdict.problems = problems;
  verdict.fetched = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
  const node = document.body.appendChild(document.createElement("pre"));
  node.id = "verdict";
  node.textContent = btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(verdict))));
});
"""


def target_of(modes: list[list[float]]) -> Target:
    weights, means, sds = zip(*modes, strict=True)
    return normal_mixture(list(weights), list(means), list(sds))


def page_with(given: dict[str, Any]) -> str:
    data = base64.b64encode(json.dumps(given).encode()).decode()
    style = re.sub(r"@font-face \{.*?\}", "", (TEMPLATES / "style.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Playground</title>
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<style>{style}{STYLE.read_text(encoding="utf-8")}</style></head>
<body data-given="{data}"><main>{FRAGMENT.read_text(encoding="utf-8")}</main>
<script>{CHECK}</script>
<script>{SCRIPT.read_text(encoding="utf-8")}</script></body></html>"""


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page says of all that is asked of it, in one run of the browser."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    folder = tmp_path_factory.mktemp("playground")
    page = folder / "page.html"
    given = {
        "mixtures": MIXTURES,
        "members": MEMBERS,
        "sharp": SHARP,
        "states": STATES,
        "malformed": MALFORMED,
        "refused": list(REFUSED),
    }
    page.write_text(page_with(given), encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
        " --disable-sync --force-prefers-reduced-motion --enable-logging=stderr --window-size=1280,900 --virtual-time-budget=30000 --dump-dom"
    )
    done = subprocess.run(
        ["chromium", *flags.split(), f"--user-data-dir={folder / 'profile'}", page.as_uri() + "#play1=1,2~%"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="verdict">([^<]*)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(base64.b64decode(found.group(1)))
    said["console"] = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return said


# The files


def test_files_ask_for_nothing_and_have_no_inline_handlers() -> None:
    for file in (SCRIPT, STYLE, FRAGMENT):
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?://|url\(|@import|\bfetch\(|XMLHttpRequest|\beval\(|new Function|</script|</style", text
        ), file
    fragment = FRAGMENT.read_text(encoding="utf-8")
    assert not re.search(r"\son\w+=|style=", fragment)
    assert '<p class="play-still">' in fragment  # the note without scripts
    assert '<div class="play-body" hidden>' in fragment


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_script_can_be_parsed() -> None:
    done = subprocess.run(["node", "--check", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Numbers beside those of models


@pytest.mark.browser
@pytest.mark.parametrize("name", MIXTURES)
def test_optima_are_those_of_projections(verdict: dict[str, Any], name: str) -> None:
    target, mine = target_of(MIXTURES[name]), verdict["mixtures"][name]
    best = forward_projection(target, FAMILIES["normal"])
    assert mine["forward"]["mu"] == pytest.approx(float(best.params["mu"]), abs=1e-9)
    assert mine["forward"]["sigma"] == pytest.approx(float(best.params["sigma"]), abs=1e-9)
    assert mine["forward"]["kl"] == pytest.approx(best.divergence.value, abs=1e-9)
    theirs = reverse_projections(target, FAMILIES["normal"])
    assert mine["consistent"]
    assert mine["quick"] == len(mine["points"])
    for kind in ("minimum", "saddle"):
        expected = sorted(
            (float(p.params["mu"]), float(p.params["sigma"]), p.divergence.value) for p in theirs if kind in p.status
        )
        found = sorted((p["mu"], p["sigma"], p["kl"]) for p in mine["points"] if p["kind"] == kind)
        np.testing.assert_allclose(np.reshape(found, (-1, 3)), np.reshape(expected, (-1, 3)), atol=1e-6, rtol=0)
    globals_ = {round(p["kl"], 6) for p in mine["points"] if p["global"]}
    assert globals_ == {round(min(p.divergence.value for p in theirs), 6)}


@pytest.mark.browser
def test_headline_numbers(verdict: dict[str, Any]) -> None:
    minima = [p for p in verdict["mixtures"]["equal"]["points"] if p["kind"] == "minimum"]
    assert [round(p["kl"], 6) for p in minima] == [0.688769, 0.688769, 0.840621]
    assert minima[1]["mu"] == pytest.approx(2.984, abs=5e-4)
    assert minima[2]["sigma"] == pytest.approx(2.744, abs=5e-4)


@pytest.mark.browser
def test_divergences_are_those_of_models_in_both_directions(verdict: dict[str, Any]) -> None:
    asked = [(MIXTURES[name], mine["kl"]) for name, mine in verdict["mixtures"].items()]
    asked += list(zip(SHARP, verdict["sharp"], strict=True))
    for modes, found in asked:
        target = target_of(modes)
        for (mean, sd), pair in zip(MEMBERS, found, strict=True):
            q = normal_mixture([1], [mean], [sd])
            expected = [kl(target, q).value, kl(q, target).value]
            np.testing.assert_allclose(pair, expected, atol=1e-8, rtol=1e-10)


@pytest.mark.browser
def test_gradient_and_hessian_are_those_of_differences(verdict: dict[str, Any]) -> None:
    for said in verdict["slopes"]:
        np.testing.assert_allclose(said["gradient"], said["byDifference"], atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(said["hessian"], said["hessianByDifference"], atol=1e-5, rtol=1e-5)


@pytest.mark.browser
def test_advi_repeats_with_its_seed_and_rests_where_pymc_rests(verdict: dict[str, Any]) -> None:
    for runs in verdict["advi"].values():
        ends = np.array(runs)
        np.testing.assert_array_equal(ends[:, :2], ends[:, 2:])
        assert len(np.unique(ends[:, 0])) == len(ends)
        np.testing.assert_allclose(ends[:, 0], 2.984, atol=0.2)
    # The step rule's own bias at this minimum: its sd is 1.107 where the exact one is 1.023.
    assert np.mean([sd for _, sd, _, _ in verdict["advi"]["adagrad_window"]]) == pytest.approx(1.1074, abs=0.02)


@pytest.mark.browser
def test_covering_and_missing(verdict: dict[str, Any]) -> None:
    near, broad, missed, rest = verdict["mass"]
    assert near == [False, True]
    assert broad == [True, True]
    assert missed == pytest.approx(0.5, abs=0.01)
    assert rest == pytest.approx(0, abs=1e-3)


# Links


@pytest.mark.browser
def test_links_come_back_and_malformed_ones_are_refused(verdict: dict[str, Any]) -> None:
    for state, (link, back) in zip(STATES, verdict["links"], strict=True):
        assert back == state
        assert re.fullmatch(r"#play1=[\w.,~-]{5,80}", link)
    assert verdict["malformed"] == [None] * len(MALFORMED)
    assert dict(zip(REFUSED, verdict["refused"], strict=True)) == REFUSED
    assert all(verdict["presets"])


# The page


@pytest.mark.browser
def test_page_builds_under_the_policy_and_falls_back_from_a_malformed_link(verdict: dict[str, Any]) -> None:
    assert verdict["problems"] == verdict["fetched"] == verdict["console"] == []
    first = verdict["first"]
    assert first["still"]
    assert first["hash"] == "#play1=1,2~%"  # only what the reader does changes the address
    assert first["report"] == "The link was not used, since it cannot be read; an example is shown."
    target, q = target_of(MIXTURES["equal"]), normal_mixture([1], [1.5], [1])
    assert first["words"].replace("\N{NO-BREAK SPACE}", " ") == (
        f"q covers the right mode: KL(p\N{DOUBLE VERTICAL LINE}q) {kl(target, q).value:.4f}, "
        f"KL(q\N{DOUBLE VERTICAL LINE}p) {kl(q, target).value:.4f} nats. "
        "Forward KL has one minimum, N(0.000, 3.162²) (0.4620). "
        "Reverse KL has 3 minima, N(\N{MINUS SIGN}2.984, 1.023²) and N(2.984, 1.023²) (global, 0.6888) "
        "and N(0.000, 2.744²) (local, 0.8406), and 2 saddles; the count is consistent."
    )
    for tabindex, label, now, text in verdict["handles"]:
        assert tabindex == "0"
        assert label
        assert float(now) is not None
        assert re.search(r"\d", text)


@pytest.mark.browser
def test_links_and_presets_are_shown(verdict: dict[str, Any]) -> None:
    assert verdict["linked"]["words"].startswith("q covers")
    assert "Reverse KL has 1\N{NO-BREAK SPACE}minimum, N(7.000" in verdict["linked"]["words"]
    assert verdict["linked"]["hash"] == verdict["links"][1][0]
    minus = "\N{MINUS SIGN}1"
    why = f"The link was not used, since an sd of {minus} is not between 0.2 and 4; nothing is changed."
    assert verdict["unlinked"] == {"report": why, "words": verdict["linked"]["words"]}
    names = [name for name, *_ in verdict["pressed"]]
    assert names == ["two modes", "close modes", "unequal", "three modes", "narrow and wide"]
    assert len({words for _, _, words, _ in verdict["pressed"]}) == 5
    minima = [re.search(r"Reverse KL has (\d)", words) for _, _, words, _ in verdict["pressed"]]
    assert [m.group(1) for m in minima if m] == ["3", "1", "2", "3", "2"]
    assert all(pressed == "true" and "the count is consistent" in words for _, pressed, words, _ in verdict["pressed"])


@pytest.mark.browser
def test_handles_move_by_keys_and_pointer(verdict: dict[str, Any]) -> None:
    # sd and mean of each mode, sd and mean of q, and the ring in the landscape, which has moved with q.
    assert verdict["keyed"] == ["1.05", "-2.9", "1.05", "3.1", "1.05", "1.7", "1.7"]
    assert float(verdict["dragged"][5]) > 2.5
    assert verdict["dragged"][:5] == verdict["keyed"][:5]


@pytest.mark.browser
def test_runs_end_with_a_report(verdict: dict[str, Any]) -> None:
    report, link = verdict["descended"]
    assert report.startswith("Downhill q comes to rest at the global minimum, N(2.984")
    assert "leaves out 49.8" in report
    assert link.endswith("~2.9843,1.0234")
    for words, seed in ((verdict["ran"], 1), (verdict["again"], 2)):
        assert words.startswith(
            f"ADVI, seed {seed} (adagrad_window, learning rate 0.001, 100\N{NO-BREAK SPACE}000 steps), ended 0.00"
        )
        assert "above the global minimum, N(2.984" in words
    assert verdict["added"].startswith("q covers the middle and right modes:")
    assert "Reverse KL has 1\N{NO-BREAK SPACE}minimum" in verdict["added"]


@pytest.mark.browser
def test_nothing_overflows_and_no_text_is_small(verdict: dict[str, Any]) -> None:
    for said in verdict["widths"]:
        assert (said["over"], said["small"]) == ([], []), said["width"]
