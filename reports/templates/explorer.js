// The explorer: draws and words of analysis/site/explorer.py, for every position of its two sliders.
(() => {
  "use strict";

  const fixed = (value, digits) => {
    const text = Math.abs(value).toFixed(digits);
    return value < 0 && Number(text) !== 0 ? "\u2212" + text : text;
  };
  const klText = (value) => (value > 0 && value < 0.00005 ? "<0.0001" : fixed(Math.max(value, 0), 4));
  const density = (x, mu, sigma) => Math.exp(-0.5 * ((x - mu) / sigma) ** 2) / (sigma * Math.sqrt(2 * Math.PI));
  const kindOf = (point) => (point[3] ? "global" : "local");

  const path = ([width, height, steps, , end, top], low, high, value) => {
    const points = [];
    for (let i = 0; i <= steps; i += 1) {
      const x = low + ((high - low) * i) / steps;
      points.push(`${(((x / end + 1) * width) / 2).toFixed(1)},${(height * (1 - value(x) / top)).toFixed(1)}`);
    }
    return "M" + points.join(" ");
  };

  const curves = ({ a, w, forward, reverse }, box) => {
    const [, , , tail, end] = box;
    const normal = ([mu, sigma]) => {
      const [low, high] = [Math.max(-end, mu - tail * sigma), Math.min(end, mu + tail * sigma)];
      return path(box, low, high, (x) => density(x, mu, sigma));
    };
    const several = (kind) => reverse.filter((point) => kindOf(point) === kind).map(normal).join("");
    return {
      target: path(box, -end, end, (x) => w * density(x, -a, 1) + (1 - w) * density(x, a, 1)),
      forward: normal(forward),
      local: several("local"),
      global: several("global"),
    };
  };

  const summary = ({ forward, reverse }) => {
    const group = (kind) => {
      const points = reverse.filter((point) => kindOf(point) === kind);
      const levels = [...new Set(points.map((point) => klText(point[2])))].join(" and ");
      return points.length ? [`${points.length} ${kind} at ${levels} nats`] : [];
    };
    const found = reverse.length === 1
      ? `1 minimum, at ${klText(reverse[0][2])} nats`
      : `${reverse.length} minima: ${[...group("global"), ...group("local")].join(", ")}`;
    const text = `Reverse KL has ${found}. Forward KL has 1 minimum, at ${klText(forward[2])} nats.`;
    return text.replace(/(\d) /g, "$1\u00a0");
  };

  const words = ({ forward, reverse }) =>
    [["Forward", forward], ...reverse.map((point) => [`Reverse, ${kindOf(point)}`, point])]
      .map(([who, [mu, sigma, kl]]) => `${who}: mean ${fixed(mu, 3)}, sd ${fixed(sigma, 3)}, KL ${klText(kl)} nats.`)
      .join(" ");

  const rows = ({ a, w, forward, reverse }) => {
    const mean = a * (1 - 2 * w);
    const row = (kind, label, [mu, sigma, kl]) =>
      ({ kind, label, texts: [fixed(mu, 3), fixed(sigma, 3), kl === undefined ? "" : klText(kl)] });
    return [
      row("target", "target", [mean, Math.sqrt(1 + a ** 2 - mean ** 2)]),
      row("forward", "forward", forward),
      ...reverse.map((point) => row(kindOf(point), `reverse, ${kindOf(point)}`, point)),
    ];
  };

  const fill = (line, { kind, label, texts } = { kind: "none", label: "", texts: ["", "", ""] }) => {
    line.dataset.kind = kind;
    line.querySelector("th span").textContent = label;
    line.querySelectorAll("td").forEach((place, i) => { place.textContent = texts[i]; });
  };

  const start = (root) => {
    const data = JSON.parse(root.querySelector("script").textContent);
    const controls = root.querySelector(".explorer-controls");
    const [rowSlider, columnSlider] = controls.querySelectorAll("input");
    const drawing = root.querySelector(".explorer-drawing");
    const lines = root.querySelectorAll("tbody tr");

    const show = (slider, text) => {
      slider.setAttribute("aria-valuetext", text);
      slider.parentElement.querySelector(".explorer-value").textContent = text;
    };
    const update = () => {
      const [i, j] = [Number(rowSlider.value), Number(columnSlider.value)];
      const [forward, reverse] = data.cells[i][j];
      const state = { a: data.a[i], w: data.w[j], forward, reverse };
      const apart = fixed(2 * state.a, data.digits[0]);
      const separation = `a = ${fixed(state.a, data.digits[0])} (means ${apart} apart)`;
      const weight = `w = ${fixed(state.w, data.digits[1])}`;
      show(rowSlider, separation);
      show(columnSlider, weight);
      for (const [kind, d] of Object.entries(curves(state, data.box))) {
        drawing.querySelector(`.curves .${kind}`).setAttribute("d", d);
      }
      drawing.setAttribute("aria-label", `${data.alt} ${separation}, ${weight}. ${words(state)}`);
      const texts = rows(state);
      lines.forEach((line, k) => fill(line, texts[k]));
      root.querySelector(".explorer-summary").textContent = summary(state);
    };

    for (const slider of [rowSlider, columnSlider]) slider.addEventListener("input", update);
    update();
    controls.hidden = false;
  };

  document.querySelectorAll(".explorer").forEach(start);
})();
