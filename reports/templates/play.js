// The playground: p_data is a mixture of up to three Normals, q one Normal; everything is computed here, exactly where it can be.
(() => {
  "use strict";

  // Limits, also of what a link may say.
  const LIMITS = { mean: [-7, 7], sd: [0.2, 4], weight: [0.02, 1], qMean: [-9, 9], qSd: [0.2, 9], modes: 3 };
  const LOG_2PI = Math.log(2 * Math.PI);
  const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));

  const PRESETS = [
    { name: "two modes", modes: [[0.5, -3, 1], [0.5, 3, 1]], q: [1.5, 1] },
    { name: "close modes", modes: [[0.5, -2.3, 1], [0.5, 2.3, 1]], q: [0.9, 0.9] },
    { name: "unequal", modes: [[0.3, -3, 1], [0.7, 3, 1]], q: [-1.2, 1.5] },
    { name: "three modes", modes: [[0.3, -4.5, 0.9], [0.4, 0, 0.9], [0.3, 4.5, 0.9]], q: [-4.8, 0.8] },
    { name: "narrow and wide", modes: [[0.6, -1, 2.5], [0.4, 2.5, 0.35]], q: [3.4, 0.5] },
  ];

  // Quadrature

  const legendre = (n) => {
    const nodes = [];
    for (let i = 0; i < n; i += 1) {
      let x = Math.cos((Math.PI * (i + 0.75)) / (n + 0.5));
      let slope = 1;
      for (let turn = 0; turn < 50; turn += 1) {
        let [before, value] = [1, x];
        for (let k = 2; k <= n; k += 1) [before, value] = [value, ((2 * k - 1) * x * value - (k - 1) * before) / k];
        slope = (n * (x * value - before)) / (x * x - 1);
        const step = value / slope;
        x -= step;
        if (Math.abs(step) < 1e-15) break;
      }
      nodes.push([x, 2 / ((1 - x * x) * slope * slope)]);
    }
    return nodes.reverse();
  };

  const RULE = legendre(12);
  const REACH = 96; // nodes reach this far: 9 sds of the widest q
  const PANEL = 0.5;
  const TAIL = 8.6; // sds of q that are integrated over: beyond it has 1e-17 of its mass

  // Where two components are equally dense log p bends, the more sharply the steeper their ratio; panels get finer towards there.
  const bends = (modes) => {
    const found = [];
    modes.forEach(([w, m, s], i) => {
      for (const [v, n, t] of modes.slice(i + 1)) {
        const a = 0.5 / (t * t) - 0.5 / (s * s);
        const b = m / (s * s) - n / (t * t);
        const c = Math.log((w * t) / (v * s)) - (0.5 * m * m) / (s * s) + (0.5 * n * n) / (t * t);
        const root = Math.sqrt(b * b - 4 * a * c);
        const far = -0.5 * (b + Math.sign(b || 1) * root);
        for (const x of [far / a, c / far]) {
          if (Math.abs(x) < REACH - 2) found.push([x, 1 / Math.max(Math.abs(2 * a * x + b), 1e-9)]);
        }
      }
    });
    return found;
  };

  const edgesOf = (modes) => {
    const edges = [];
    for (let x = -REACH; x <= REACH; x += PANEL) edges.push(x);
    for (const [x, width] of bends(modes)) {
      if (width > 0.12) continue;
      edges.push(x);
      for (let step = 1.5 * width; step < PANEL; step *= 2) edges.push(x - step, x + step);
    }
    return edges.sort((a, b) => a - b).filter((x, i, all) => i === 0 || x - all[i - 1] > 1e-9);
  };

  const logDensity = (modes) => {
    const terms = modes.map(([w, m, s]) => [Math.log(w / s) - 0.5 * LOG_2PI, m, 1 / s]);
    const logs = new Float64Array(terms.length);
    return (x) => {
      let top = -Infinity;
      for (let i = 0; i < terms.length; i += 1) {
        const z = (x - terms[i][1]) * terms[i][2];
        logs[i] = terms[i][0] - 0.5 * z * z;
        if (logs[i] > top) top = logs[i];
      }
      let sum = 0;
      for (let i = 0; i < logs.length; i += 1) sum += Math.exp(logs[i] - top);
      return top + Math.log(sum);
    };
  };

  // d log p / dx
  const score = (modes) => {
    const log = logDensity(modes);
    return (x) => {
      const whole = log(x);
      let sum = 0;
      for (const [w, m, s] of modes) {
        const z = (x - m) / s;
        sum -= (Math.exp(Math.log(w / s) - 0.5 * LOG_2PI - 0.5 * z * z - whole) * z) / s;
      }
      return sum;
    };
  };

  const normalDensity = (x, mu, sigma) => Math.exp(-0.5 * ((x - mu) / sigma) ** 2 - 0.5 * LOG_2PI) / sigma;

  // A target: modes as [weight, mean, sd], any positive weights; with nodes, weights and log p at the nodes, once for all q.
  const makeTarget = (given) => {
    const total = given.reduce((sum, [w]) => sum + w, 0);
    const modes = given.map(([w, m, s]) => [w / total, m, s]);
    const log = logDensity(modes);
    const edges = edgesOf(modes);
    const size = (edges.length - 1) * RULE.length;
    const [x, weight, g] = [new Float64Array(size), new Float64Array(size), new Float64Array(size)];
    let [k, entropy] = [0, 0];
    for (let i = 1; i < edges.length; i += 1) {
      const [centre, half] = [(edges[i] + edges[i - 1]) / 2, (edges[i] - edges[i - 1]) / 2];
      for (const [node, w] of RULE) {
        x[k] = centre + half * node;
        weight[k] = half * w;
        g[k] = log(x[k]);
        entropy -= weight[k] * Math.exp(g[k]) * g[k];
        k += 1;
      }
    }
    const mean = modes.reduce((sum, [w, m]) => sum + w * m, 0);
    const variance = modes.reduce((sum, [w, m, s]) => sum + w * (s * s + (m - mean) ** 2), 0);
    return { modes, log, x, weight, g, entropy, mean, variance };
  };

  const firstAfter = (x, value) => {
    let [low, high] = [0, x.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (x[middle] < value) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  // Divergences, in nats

  const klForward = (target, mu, sigma) =>
    -target.entropy + Math.log(sigma) + 0.5 * LOG_2PI + (target.variance + (target.mean - mu) ** 2) / (2 * sigma * sigma);

  const forward = (target) => {
    const sigma = Math.sqrt(target.variance);
    return { mu: target.mean, sigma, kl: klForward(target, target.mean, sigma) };
  };

  // KL(q||p) with its gradient and Hessian in (mean, log sd). With He_k Hermite's polynomials, E_q[log p]'s derivatives are means of
  // He_k(z) log p (Stein's identity), so no derivative of log p is needed.
  const reverse = ({ x, weight, g }, mu, logSigma) => {
    const sigma = Math.exp(logSigma);
    const end = mu + TAIL * sigma;
    let [m0, m1, m2, m3, m4] = [0, 0, 0, 0, 0];
    for (let k = firstAfter(x, mu - TAIL * sigma); k < x.length && x[k] < end; k += 1) {
      const z = (x[k] - mu) / sigma;
      const a = weight[k] * Math.exp(-0.5 * z * z) * g[k];
      const az = a * z;
      const azz = az * z;
      m0 += a;
      m1 += az;
      m2 += azz;
      m3 += azz * z;
      m4 += azz * z * z;
    }
    const scale = 1 / (sigma * Math.sqrt(2 * Math.PI));
    [m0, m1, m2, m3, m4] = [m0 * scale, m1 * scale, m2 * scale, m3 * scale, m4 * scale];
    return {
      kl: -logSigma - 0.5 * (LOG_2PI + 1) - m0,
      gradient: [-m1 / sigma, -1 - (m2 - m0)],
      hessian: [-(m2 - m0) / (sigma * sigma), -(m3 - 3 * m1) / sigma, -(m4 - 4 * m2 + m0)],
    };
  };

  const klReverse = (target, mu, sigma) => reverse(target, mu, Math.log(sigma)).kl;

  const eigenvalues = ([a, b, c]) => {
    const [middle, half] = [(a + c) / 2, Math.hypot((a - c) / 2, b)];
    return [middle - half, middle + half];
  };

  // (H + lambda)^-1 applied to minus the gradient
  const step = ({ gradient: [u, v], hessian: [a, b, c] }, lambda = 0) => {
    const [p, r] = [a + lambda, c + lambda];
    const det = p * r - b * b;
    return [(b * v - r * u) / det, (b * u - p * v) / det];
  };

  // The landscape of reverse KL on a grid over (mean, log sd), by sums over evenly spaced points: good to draw and to start Newton from.

  const VIEW = { mu: [-9, 9], log: [Math.log(0.18), Math.log(10)] };
  const FINE = 0.1;

  const landscape = (target, fine = false) => {
    const stride = fine ? 1 : 2;
    const columns = Math.round((VIEW.mu[1] - VIEW.mu[0]) / (FINE * stride)) + 1;
    const rows = fine ? 96 : 48;
    const margin = 600;
    const table = new Float64Array((columns - 1) * stride + 1 + 2 * margin);
    for (let i = 0; i < table.length; i += 1) table[i] = target.log(VIEW.mu[0] + (i - margin) * FINE);
    const [kl, du, dv] = [0, 0, 0].map(() => new Float64Array(columns * rows));
    for (let j = 0; j < rows; j += 1) {
      const log = VIEW.log[0] + ((VIEW.log[1] - VIEW.log[0]) * j) / (rows - 1);
      const sigma = Math.exp(log);
      const jump = sigma > 1.2 ? 2 : 1;
      const half = Math.min(Math.ceil((5.5 * sigma) / (FINE * jump)), Math.floor(margin / jump));
      const kernel = new Float64Array(3 * (2 * half + 1));
      let total = 0;
      for (let k = -half; k <= half; k += 1) total += Math.exp(-0.5 * ((k * FINE * jump) / sigma) ** 2);
      for (let k = -half; k <= half; k += 1) {
        const z = (k * FINE * jump) / sigma;
        const a = Math.exp(-0.5 * z * z) / total;
        kernel.set([a, a * z, a * (z * z - 1)], 3 * (k + half));
      }
      for (let i = 0; i < columns; i += 1) {
        let [a, b, c] = [0, 0, 0];
        let at = margin + i * stride - half * jump;
        for (let k = 0; k < kernel.length; k += 3) {
          const value = table[at];
          a += kernel[k] * value;
          b += kernel[k + 1] * value;
          c += kernel[k + 2] * value;
          at += jump;
        }
        const cell = j * columns + i;
        kl[cell] = -log - 0.5 * (LOG_2PI + 1) - a;
        du[cell] = -b;
        dv[cell] = -1 - c;
      }
    }
    return { columns, rows, kl, du, dv };
  };

  const changesSign = (values, cells) => {
    let [low, high] = [Infinity, -Infinity];
    for (const cell of cells) {
      const value = values[cell];
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return low <= 0 && high >= 0;
  };

  // Cells about which both parts of the gradient change sign; `wide` asks it of the neighbouring cells too, for pairs near a fold.
  const suspects = ({ columns, rows, du, dv }, wide) => {
    const found = [];
    const [before, after] = wide ? [1, 2] : [0, 1];
    for (let j = before; j + after < rows; j += 1) {
      for (let i = before; i + after < columns; i += 1) {
        const cells = [];
        for (let b = -before; b <= after; b += 1) for (let a = -before; a <= after; a += 1) cells.push((j + b) * columns + i + a);
        if (!changesSign(du, cells) || !changesSign(dv, cells)) continue;
        found.push([
          VIEW.mu[0] + ((VIEW.mu[1] - VIEW.mu[0]) * (i + 0.5)) / (columns - 1),
          VIEW.log[0] + ((VIEW.log[1] - VIEW.log[0]) * (j + 0.5)) / (rows - 1),
        ]);
      }
    }
    return found;
  };

  const newton = (target, [mu, log]) => {
    for (let turn = 0; turn < 30; turn += 1) {
      const here = reverse(target, mu, log);
      const d = step(here);
      const size = Math.max(Math.abs(d[0]) / Math.exp(log), Math.abs(d[1]));
      if (!Number.isFinite(size)) return null;
      const cut = Math.min(1, 0.5 / size);
      mu += cut * d[0];
      log += cut * d[1];
      if (Math.abs(mu) > 12 || log < Math.log(0.1) || log > VIEW.log[1]) return null;
      if (size < 1e-9) return [mu, log];
    }
    return null;
  };

  const classified = (target, [mu, log]) => {
    const { kl, hessian } = reverse(target, mu, log);
    const eigen = eigenvalues(hessian);
    const kind = eigen[0] > 0 ? "minimum" : eigen[1] < 0 ? "maximum" : "saddle";
    return { mu: Math.abs(mu) < 1e-12 ? 0 : mu, sigma: Math.exp(log), kl, kind, eigenvalues: eigen };
  };

  // Stationary points of reverse KL, minima first, lowest first; `consistent` if minima - saddles + maxima = 1, as it must be for all.
  const stationary = (target, grid, known = [], wide = false) => {
    const points = [];
    for (const start of [...suspects(grid, wide), ...known]) {
      const end = newton(target, start);
      const same = end && points.some((p) => Math.abs(p.mu - end[0]) < 1e-5 && Math.abs(Math.log(p.sigma) - end[1]) < 1e-5);
      if (end && !same) points.push(classified(target, end));
    }
    const order = ["minimum", "saddle", "maximum"];
    points.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || (Math.abs(a.kl - b.kl) > 1e-9 ? a.kl - b.kl : a.mu - b.mu));
    const lowest = points.length ? points[0].kl : NaN;
    for (const point of points) point.global = point.kind === "minimum" && point.kl - lowest < 1e-7;
    const count = (kind) => points.filter((point) => point.kind === kind).length;
    return { points, consistent: count("minimum") - count("saddle") + count("maximum") === 1 };
  };

  const explore = (target, fine = true, known = []) => {
    const grid = landscape(target, fine);
    const found = stationary(target, grid, known, fine);
    return found.consistent || fine ? { grid, ...found } : { grid, ...stationary(target, grid, known, true) };
  };

  // Gradient flow from q down to a minimum: linearly implicit Euler steps, short ones, which become Newton's near the end.
  const descend = (target, mu, sigma) => {
    const path = [[mu, sigma]];
    let at = [mu, Math.log(sigma)];
    for (let turn = 0; turn < 900; turn += 1) {
      const here = reverse(target, at[0], at[1]);
      const length = Math.hypot(...here.gradient);
      if (length < 1e-11) break;
      const d = step(here, Math.max(0, -eigenvalues(here.hessian)[0]) + length / 0.06);
      at = [at[0] + d[0], at[1] + d[1]];
      path.push([at[0], Math.exp(at[1])]);
      if (Math.hypot(...d) < 1e-11) break;
    }
    return { path, end: classified(target, at) };
  };

  // ADVI as PyMC does it: mean and rho, sd = log1p(exp(rho)), one draw a step.

  const noise = (seed) => {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  };

  // Step rules: each returns a function from a gradient to what is subtracted.
  const RULES = {
    adagrad_window: {
      words: "adagrad_window, learning rate 0.001",
      steps: 100000,
      make: () => {
        const squares = new Float64Array(10);
        let i = 0;
        return (gradient) => {
          squares[i] = gradient * gradient;
          i = (i + 1) % 10;
          let sum = 0.1;
          for (let k = 0; k < 10; k += 1) sum += squares[k];
          return (0.001 * gradient) / Math.sqrt(sum);
        };
      },
    },
    adam: {
      words: "Adam, learning rate 0.01",
      steps: 10000,
      make: () => {
        let [m, v, a, b] = [0, 0, 1, 1];
        return (gradient) => {
          m = 0.9 * m + 0.1 * gradient;
          v = 0.999 * v + 0.001 * gradient * gradient;
          a *= 0.9;
          b *= 0.999;
          return (0.01 * (m / (1 - a))) / (Math.sqrt(v / (1 - b)) + 1e-8);
        };
      },
    },
  };

  const makeAdvi = (target, mu, sigma, seed, rule = "adagrad_window") => {
    const [slope, draw] = [score(target.modes), noise(seed)];
    const [forMu, forRho] = [RULES[rule].make(), RULES[rule].make()];
    const run = { mu, sigma, done: 0, total: RULES[rule].steps };
    let rho = Math.log(Math.expm1(sigma));
    run.advance = (steps) => {
      for (let i = 0; i < steps && run.done < run.total; i += 1) {
        const z = draw();
        const d = slope(run.mu + run.sigma * z);
        const dRho = (-d * z - 1 / run.sigma) / (1 + Math.exp(-rho));
        run.mu -= forMu(-d);
        rho -= forRho(dRho);
        run.sigma = Math.log1p(Math.exp(rho));
        run.done += 1;
      }
      return run;
    };
    return run;
  };

  // What q covers

  // Abramowitz and Stegun (1964), 7.1.26: good to 1.5e-7.
  const cdf = (z) => {
    const t = 1 / (1 + (0.3275911 * Math.abs(z)) / Math.SQRT2);
    const poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    const upper = 0.5 * poly * Math.exp(-0.5 * z * z);
    return z < 0 ? upper : 1 - upper;
  };
  const mass = (mu, sigma, low, high) => cdf((high - mu) / sigma) - cdf((low - mu) / sigma);
  const massOf = (modes, low, high) => modes.reduce((sum, [w, m, s]) => sum + w * mass(m, s, low, high), 0);

  // The rule of analysis/judged.py: a mode is the central 95% of a component; q covers it with a fifth of the mass that p has there.
  const covers = ({ modes }, mu, sigma) =>
    modes.map(([, m, s]) => mass(mu, sigma, m - 1.96 * s, m + 1.96 * s) >= 0.2 * massOf(modes, m - 1.96 * s, m + 1.96 * s));

  // Mass of p outside the central 99.9% of q
  const missed = ({ modes }, mu, sigma) => Math.max(0, 1 - massOf(modes, mu - 3.2905 * sigma, mu + 3.2905 * sigma));

  // Links: #play1=w,mean,sd_w,mean,sd~mean,sd

  const short = (value) => String(Math.round(value * 1e4) / 1e4 + 0);
  const encode = ({ modes, q }) =>
    `#play1=${modes.map((mode) => mode.map(short).join(",")).join("_")}~${q.map(short).join(",")}`;

  const NUMBER = /^-?\d{1,9}(\.\d{1,6})?(e\d{1,2})?$/i;
  const number = (value) => short(value).replace("-", "\u2212");
  const outside = (name, value, [low, high]) =>
    value >= low && value <= high ? "" : `${name} of ${number(value)} is not between ${number(low)} and ${number(high)}`;

  // What a link says: a state, or `why` none can be shown; neither, if it leads elsewhere.
  const readLink = (hash) => {
    if (typeof hash !== "string" || !hash.startsWith("#play")) return {};
    const texts = hash.replace("#play1=", "").split(/[~_]/).map((part) => part.split(","));
    if (texts.length > LIMITS.modes + 1) return { why: `it has ${texts.length - 1} modes, and at most ${LIMITS.modes} can be shown` };
    const shaped = /^#play1=[^~]+~[^~_]+$/.test(hash) && texts.every((row, i) => row.length === (i === texts.length - 1 ? 2 : 3));
    if (!shaped || !texts.flat().every((text) => NUMBER.test(text))) return { why: "it cannot be read" };
    const modes = texts.map((row) => row.map(Number));
    const q = modes.pop();
    const wrong = [
      ...modes.flatMap(([w, m, s]) => [outside("a weight", w, LIMITS.weight), outside("a mean", m, LIMITS.mean), outside("an sd", s, LIMITS.sd)]),
      outside("the mean of q", q[0], LIMITS.qMean), outside("the sd of q", q[1], LIMITS.qSd),
    ].filter(Boolean);
    return wrong.length ? { why: wrong[0] } : { state: { modes, q } };
  };
  const decode = (hash) => readLink(hash).state ?? null;

  globalThis.duality = {
    LIMITS, PRESETS, makeTarget, klForward, klReverse, reverse, forward, landscape, stationary, explore, descend, makeAdvi, covers, missed,
    encode, decode, readLink,
  };

  // The page

  const root = globalThis.document?.querySelector(".play");
  if (!root) return;

  const SVG = "http://www.w3.org/2000/svg";
  const NBSP = "\u00a0";
  const RANGE = VIEW.mu;
  const SD_VIEW = [Math.log(0.18), Math.log(9)];
  const INSET = { left: 30, right: 12, top: 12, bottom: 22 };
  const IDLE = 160; // milliseconds after the last change until the words and the finer search

  const at = (selector) => root.querySelector(selector);
  const attributes = (node, values) => {
    for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
    return node;
  };
  const add = (parent, name, values = {}, text = "") => {
    const node = parent.appendChild(attributes(document.createElementNS(SVG, name), values));
    if (text) node.textContent = text;
    return node;
  };
  const fixed = (value, digits) => {
    const text = Math.abs(value).toFixed(digits);
    return value < 0 && Number(text) !== 0 ? "\u2212" + text : text;
  };
  const klText = (value) => (value > 1e-9 && value < 0.00005 ? "<0.0001" : fixed(Math.max(value, 0), 4));
  const percent = (value) => (value > 0 && value < 0.001 ? "less than 0.1" : fixed(100 * value, 1)) + NBSP + "%";
  const counted = (n, one, many = one + "s") => `${n}${NBSP}${n === 1 ? one : many}`;
  const listed = (items) => (items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`);
  const sides = (n) => [["only"], ["left", "right"], ["left", "middle", "right"]][n - 1];

  // State

  let state = { modes: [], q: [0, 1] };
  let target = null;
  let found = null; // of reverse KL: grid, points, consistent
  let optimum = null; // of forward KL
  let trail = null; // [class, [[mean, sd], ...]] of the last run
  let report = ""; // in words, of the last run
  let running = null;
  let seed = 0;
  let origin = null; // where the last run of ADVI began
  let touched = false;
  let [timer, frame] = [0, 0];
  let stale = { target: true, fine: false, size: true };

  const still = () => globalThis.matchMedia("(prefers-reduced-motion: reduce)").matches;
  // Names of the modes by their order on the line, whatever their order in the state.
  const names = () => {
    const order = state.modes.map((_, i) => i).sort((a, b) => state.modes[a][1] - state.modes[b][1]);
    return state.modes.map((_, i) => sides(state.modes.length)[order.indexOf(i)]);
  };

  const round = (value) => Math.round(value * 100) / 100;

  const schedule = () => {
    clearTimeout(timer);
    timer = setTimeout(settle, IDLE);
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      draw();
    });
  };

  const setModes = (modes) => {
    stop();
    state = { ...state, modes };
    stale.target = true;
    [trail, report, touched] = [null, "", true];
    schedule();
  };

  const moveQ = (mu, sigma) => {
    state = { ...state, q: [clamp(mu, LIMITS.qMean), clamp(sigma, LIMITS.qSd)] };
    touched = true;
    schedule();
  };

  const setQ = (mu, sigma) => {
    stop();
    [trail, report] = [null, ""];
    moveQ(round(mu), round(sigma));
  };

  const changeMode = (i, place, value) => {
    const limits = [LIMITS.weight, LIMITS.mean, LIMITS.sd][place];
    const [old, rounded] = [state.modes[i][place], clamp(round(value), limits)];
    const modes = state.modes.map((mode) => [...mode]);
    if (place > 0) {
      modes[i][place] = rounded;
    } else {
      // The others share what is left, in the proportions they have.
      const next = clamp(rounded, [0.05, 1 - 0.05 * (modes.length - 1)]);
      const total = modes.reduce((sum, [w]) => sum + w, 0);
      const scale = (1 - next) / Math.max(total - old, 0.01);
      for (const mode of modes) mode[0] = clamp(Math.round(1e4 * mode[0] * scale) / 1e4, LIMITS.weight);
      modes[i][0] = next;
    }
    setModes(modes);
  };

  // Plots: one x axis for all

  const plots = {};
  const makePlot = (name) => {
    const svg = at(`.play-${name} svg`);
    const plot = { svg, width: 0, height: 0 };
    plot.back = add(svg, "g", { class: "play-axes" });
    plot.front = add(svg, "g");
    plots[name] = plot;
    return plot;
  };
  const measure = () => {
    for (const plot of Object.values(plots)) {
      const box = plot.svg.getBoundingClientRect();
      [plot.width, plot.height] = [Math.max(box.width, 120), Math.max(box.height, 80)];
      plot.right = plot.width - INSET.right;
      plot.bottom = plot.height - INSET.bottom;
    }
  };
  const toX = (plot, x) => INSET.left + ((x - RANGE[0]) / (RANGE[1] - RANGE[0])) * (plot.right - INSET.left);
  const fromX = (plot, px) => RANGE[0] + ((px - INSET.left) / (plot.right - INSET.left)) * (RANGE[1] - RANGE[0]);
  const toLog = (plot, log) => plot.bottom - ((log - SD_VIEW[0]) / (SD_VIEW[1] - SD_VIEW[0])) * (plot.bottom - INSET.top);
  const fromLog = (plot, py) => SD_VIEW[0] + ((plot.bottom - py) / (plot.bottom - INSET.top)) * (SD_VIEW[1] - SD_VIEW[0]);
  const curve = (plot, toY, f, low = RANGE[0], high = RANGE[1]) => {
    const [from, to] = [Math.max(low, RANGE[0]), Math.min(high, RANGE[1])];
    const steps = Math.max(2, Math.min(240, Math.ceil(((to - from) / (RANGE[1] - RANGE[0])) * 400)));
    const points = [];
    for (let i = 0; i <= steps; i += 1) {
      const x = from + ((to - from) * i) / steps;
      points.push(`${toX(plot, x).toFixed(1)},${toY(f(x)).toFixed(1)}`);
    }
    return "M" + points.join(" ");
  };

  const drawAxis = (plot, ticks) => {
    plot.back.replaceChildren();
    add(plot.back, "path", { class: "axis", d: `M${INSET.left},${plot.bottom + 0.5}H${plot.right}` });
    for (const x of ticks) {
      const px = toX(plot, x);
      add(plot.back, "path", { class: "axis", d: `M${px.toFixed(1)},${plot.bottom}v4` });
      add(plot.back, "text", { x: px, y: plot.bottom + 17, "text-anchor": "middle" }, fixed(x, 0));
    }
  };

  const drawAxes = () => {
    for (const [name, plot] of Object.entries(plots)) {
      drawAxis(plot, [-8, -6, -4, -2, 0, 2, 4, 6, 8].filter((x) => plot.width > 420 || x % 4 === 0));
      if (name !== "land") continue;
      for (const sd of [0.25, 0.5, 1, 2, 4, 8]) {
        add(plot.back, "text", { x: INSET.left - 6, y: toLog(plot, Math.log(sd)) + 4, "text-anchor": "end" }, String(sd).replace("0.", "."));
      }
    }
  };

  // Handles: dragged, or moved with the arrow keys

  const makeHandle = (plot, { kind, colour, label, limits, value, text, drag, keys }) => {
    const node = add(plot.front, "g", { class: `play-handle ${kind} ${colour}`, role: "slider", tabindex: "0" });
    add(node, "circle", { class: "area", r: 17 });
    if (kind === "sd") add(node, "rect", { class: "grip", x: -3.5, y: -8, width: 7, height: 16, rx: 3.5 });
    else add(node, "circle", { class: "grip", r: kind === "ring" ? 8 : 6.5 });
    let grabbed = null;
    node.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      event.preventDefault();
      node.focus({ focusVisible: false });
      try {
        node.setPointerCapture(event.pointerId);
      } catch {
        // A pointer that is no longer there: its moves still arrive while it is over the handle.
      }
      const { left, top } = plot.svg.getBoundingClientRect();
      grabbed = { left, top, startX: event.clientX, startY: event.clientY, dx: node.px - (event.clientX - left), dy: node.py - (event.clientY - top), memo: {} };
    });
    node.addEventListener("pointermove", (event) => {
      if (!grabbed) return;
      const moved = [event.clientX - grabbed.startX, event.clientY - grabbed.startY];
      drag(event.clientX - grabbed.left + grabbed.dx, event.clientY - grabbed.top + grabbed.dy, moved, grabbed.memo);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) node.addEventListener(end, () => { grabbed = null; });
    node.addEventListener("keydown", (event) => {
      const size = event.shiftKey ? 5 : 1;
      const moves = { ArrowRight: [size, 0], ArrowLeft: [-size, 0], ArrowUp: [0, size], ArrowDown: [0, -size], PageUp: [0, 5], PageDown: [0, -5] };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      keys(...move);
    });
    node.place = (px, py) => {
      [node.px, node.py] = [px, py];
      attributes(node, {
        transform: `translate(${px.toFixed(1)},${py.toFixed(1)})`, "aria-label": label(), "aria-valuemin": limits[0], "aria-valuemax": limits[1],
        "aria-valuenow": round(value()), "aria-valuetext": text(),
      });
    };
    return node;
  };

  const meanText = (value) => `mean ${fixed(value, 2)}`;
  const sdText = (value) => `standard deviation ${fixed(value, 2)}`;

  const modeHandles = (plot, i) => {
    const mode = () => state.modes[i];
    const name = () => `the ${names()[i]} mode of p_data`;
    const share = () => mode()[0] / state.modes.reduce((sum, [w]) => sum + w, 0);
    const lift = (moved, memo) => {
      // Upwards or downwards only when that is meant.
      if (state.modes.length < 2 || (!memo.lifted && Math.abs(moved[1]) < 14)) return;
      memo.lifted ??= { from: moved[1], share: share() };
      const density = (-(moved[1] - memo.lifted.from) / (plot.bottom - INSET.top)) * plot.top;
      changeMode(i, 0, memo.lifted.share + density * mode()[2] * Math.sqrt(2 * Math.PI));
    };
    const sd = makeHandle(plot, {
      kind: "sd", colour: "of-target", label: () => `Standard deviation of ${name()}`, limits: LIMITS.sd, value: () => mode()[2], text: () => sdText(mode()[2]),
      drag: (px) => changeMode(i, 2, Math.abs(fromX(plot, px) - mode()[1])), keys: (x, y) => changeMode(i, 2, mode()[2] + 0.05 * (x + y)),
    });
    const mean = makeHandle(plot, {
      kind: "mean", colour: "of-target", label: () => `Mean of ${name()}`, limits: LIMITS.mean, value: () => mode()[1],
      text: () => `${meanText(mode()[1])}, weight ${fixed(share(), 2)}`,
      drag: (px, _, moved, memo) => {
        changeMode(i, 1, fromX(plot, px));
        lift(moved, memo);
      },
      keys: (x, y) => changeMode(i, 1, mode()[1] + 0.1 * (x + y)),
    });
    return { mean, sd };
  };

  const qHandles = (plot) => ({
    sd: makeHandle(plot, {
      kind: "sd", colour: "of-q", label: () => "Standard deviation of q", limits: LIMITS.qSd, value: () => state.q[1], text: () => sdText(state.q[1]),
      drag: (px) => setQ(state.q[0], Math.abs(fromX(plot, px) - state.q[0])), keys: (x, y) => setQ(state.q[0], state.q[1] + 0.05 * (x + y)),
    }),
    mean: makeHandle(plot, {
      kind: "mean", colour: "of-q", label: () => "Mean of q", limits: LIMITS.qMean, value: () => state.q[0], text: () => meanText(state.q[0]),
      drag: (px) => setQ(fromX(plot, px), state.q[1]), keys: (x, y) => setQ(state.q[0] + 0.1 * (x + y), state.q[1]),
    }),
  });

  const ringHandle = (plot) =>
    makeHandle(plot, {
      kind: "ring", colour: "of-q", label: () => "q in the landscape: left and right move its mean, up and down its standard deviation",
      limits: LIMITS.qMean, value: () => state.q[0], text: () => `${meanText(state.q[0])}, ${sdText(state.q[1])}`,
      drag: (px, py) => setQ(fromX(plot, px), Math.exp(fromLog(plot, py))), keys: (x, y) => setQ(state.q[0] + 0.1 * x, state.q[1] * Math.exp(0.05 * y)),
    });

  // Labels stand beside their curve where they hide least

  const placeLabels = (plot, layer, labels, curves, taken) => {
    layer.replaceChildren();
    for (const { text, spots, cls = "" } of labels) {
      let best = null;
      for (const [x, y, anchor] of spots) {
        const width = 6.6 * text.length + 4;
        const left = anchor === "middle" ? x - width / 2 : anchor === "end" ? x - width : x;
        const box = [left, y - 11, left + width, y + 3];
        if (box[0] < 2 || box[2] > plot.width - 2 || box[1] < 0 || box[3] > plot.bottom) continue;
        const over = ([a, b, c, d]) => a < box[2] && c > box[0] && b < box[3] && d > box[1];
        let cost = taken.filter(over).length * 10;
        for (const f of curves) {
          const heights = [0, 0.25, 0.5, 0.75, 1].map((t) => f(fromX(plot, box[0] + t * width)));
          if (Math.min(...heights) < box[3] && Math.max(...heights) > box[1]) cost += 1;
        }
        if (!best || cost < best.cost) best = { cost, box, x, y, anchor };
        if (cost === 0) break;
      }
      if (!best || best.cost >= 10) continue;
      taken.push(best.box);
      const node = add(layer, "text", { x: best.x.toFixed(1), y: best.y.toFixed(1), "text-anchor": best.anchor, class: `label ${cls}` });
      const [before, sub] = text.split("_");
      add(node, "tspan", {}, before);
      if (sub) add(node, "tspan", { dy: 3, class: "sub" }, sub);
    }
  };

  const spotsOf = (plot, toY, mu, sigma, prefer = [0, 1.1, -1.1, 1.5, -1.5, 0.7, -0.7, 1.9, -1.9]) =>
    prefer.map((t) => {
      const [x, y] = [toX(plot, mu + t * sigma), toY(normalDensity(mu + t * sigma, mu, sigma))];
      return t === 0 ? [x, y - 9, "middle"] : [x + 8 * Math.sign(t), y - 3, t > 0 ? "start" : "end"];
    });

  // The densities

  const main = makePlot("main");
  const mainPaths = Object.fromEntries(["target", "forward", "local", "global", "q"].map((cls) => [cls, add(main.back.parentNode, "path", { class: cls })]));
  const mainLabels = add(main.svg, "g", { class: "play-labels" });
  main.svg.append(main.front);
  const modeLayer = add(main.front, "g");
  const ofQ = qHandles(main);
  let ofModes = [];

  const drawMain = () => {
    const { modes, log } = target;
    const [mu, sigma] = state.q;
    const p = (x) => Math.exp(log(x));
    const minima = found.points.filter((point) => point.kind === "minimum");
    const peak = Math.max(...modes.map(([, m]) => p(m)));
    const peaks = [optimum, ...minima].map((point) => normalDensity(0, 0, point.sigma)).map((height) => Math.min(height, 2 * peak));
    main.top = 1.16 * Math.max(peak, ...peaks, Math.min(normalDensity(0, 0, sigma), 2 * peak));
    const toY = (value) => Math.max(main.bottom - (value / main.top) * (main.bottom - INSET.top), -300);
    const normal = (m, s) => curve(main, toY, (x) => normalDensity(x, m, s), m - 4.5 * s, m + 4.5 * s);
    const several = (keep) => minima.filter((point) => keep(point) && Math.abs(point.mu) < 9).map((point) => normal(point.mu, point.sigma)).join("");
    mainPaths.target.setAttribute("d", `${curve(main, toY, p)}V${main.bottom}H${toX(main, RANGE[0])}Z`);
    mainPaths.forward.setAttribute("d", normal(optimum.mu, optimum.sigma));
    mainPaths.local.setAttribute("d", several((point) => !point.global));
    mainPaths.global.setAttribute("d", several((point) => point.global));
    mainPaths.q.setAttribute("d", normal(mu, sigma));

    while (ofModes.length > modes.length) for (const node of Object.values(ofModes.pop())) node.remove();
    while (ofModes.length < modes.length) {
      const handles = modeHandles(main, ofModes.length);
      modeLayer.append(handles.sd, handles.mean);
      ofModes.push(handles);
    }
    modes.forEach(([, m, s], i) => {
      ofModes[i].mean.place(toX(main, m), toY(p(m)));
      ofModes[i].sd.place(toX(main, m + s), toY(p(m + s)));
    });
    const side = mu + sigma > RANGE[1] - 0.2 ? -1 : 1;
    ofQ.mean.place(toX(main, mu), Math.max(toY(normalDensity(0, 0, sigma)), INSET.top));
    ofQ.sd.place(toX(main, mu + side * sigma), toY(normalDensity(1, 0, 1) / sigma));

    const handles = [...ofModes.flatMap(({ mean, sd }) => [mean, sd]), ofQ.mean, ofQ.sd];
    const taken = handles.map(({ px, py }) => [px - 9, py - 9, px + 9, py + 9]);
    const biggest = modes.reduce((best, mode) => (p(mode[1]) > p(best[1]) ? mode : best));
    const inside = modes.map(([, m]) => m).sort((a, b) => (a === biggest[1] ? -1 : b === biggest[1] ? 1 : 0));
    // Where it is narrow only the first of the minima is named.
    const narrow = main.width < 480;
    const of = narrow ? "" : " KL";
    const labels = [
      { text: "q", cls: "strong", spots: spotsOf(main, toY, mu, sigma, [-1.1, 1.5, -0.7, -1.5, 1.9, 0.5]) },
      { text: `forward${of} ${klText(optimum.kl)}`, spots: spotsOf(main, toY, optimum.mu, optimum.sigma, [-1.5, 1.5, -1.8, 1.8, -1.2, 1.2, 0]) },
      ...minima.map((point, i) => ({
        text: narrow && i > 0 ? klText(point.kl) : `reverse${of} ${klText(point.kl)}`,
        spots: spotsOf(main, toY, point.mu, point.sigma, point.mu < -0.5 ? [-0.9, -1.2, -0.6, 0, 0.9, 1.2] : point.mu > 0.5 ? [0.9, 1.2, 0.6, 0, -0.9, -1.2] : [0, -0.6, 0.6, 1, -1]),
      })),
      { text: "p_data", spots: inside.flatMap((m) => [0.3, 0.45, 0.18].map((part) => [toX(main, m), main.bottom - part * (main.bottom - toY(p(m))), "middle"])) },
    ];
    const curves = [p, ...[{ mu, sigma }, optimum, ...minima].map((point) => (x) => normalDensity(x, point.mu, point.sigma))].map((f) => (x) => toY(f(x)));
    placeLabels(main, mainLabels, labels, curves, taken);
  };

  // The integrands

  const terms = makePlot("terms");
  const termPaths = Object.fromEntries(["forward-area", "reverse-area", "forward", "reverse"].map((cls) => [cls, add(terms.svg, "path", { class: cls })]));
  const termLabels = add(terms.svg, "g", { class: "play-labels" });

  const drawTerms = () => {
    const [mu, sigma] = state.q;
    const logQ = (x) => -0.5 * ((x - mu) / sigma) ** 2 - Math.log(sigma) - 0.5 * LOG_2PI;
    const steps = 240;
    const [xs, f, r] = [[], [], []];
    for (let i = 0; i <= steps; i += 1) {
      const x = RANGE[0] + ((RANGE[1] - RANGE[0]) * i) / steps;
      const [a, b] = [target.log(x), logQ(x)];
      xs.push(x);
      f.push(Math.exp(a) * (a - b));
      r.push(Math.exp(b) * (b - a));
    }
    const all = [...f, ...r];
    const [low, high] = [Math.min(...all, -0.02), Math.max(...all, 0.02)];
    const toY = (value) => terms.bottom - 4 - ((value - low) / (high - low)) * (terms.bottom - INSET.top - 4);
    const line = (values) => "M" + values.map((value, i) => `${toX(terms, xs[i]).toFixed(1)},${toY(value).toFixed(1)}`).join(" ");
    const zero = toY(0).toFixed(1);
    const closed = `V${zero}H${INSET.left}Z`;
    termPaths.forward.setAttribute("d", line(f));
    termPaths.reverse.setAttribute("d", line(r));
    termPaths["forward-area"].setAttribute("d", line(f) + closed);
    termPaths["reverse-area"].setAttribute("d", line(r) + closed);
    const top = (values) => values.indexOf(Math.max(...values));
    const spots = (values) => {
      const [x, y] = [toX(terms, xs[top(values)]), toY(values[top(values)])];
      const beside = [16, 26, 40, 60].flatMap((far) => [[x - far, y + 8, "end"], [x + far, y + 8, "start"]]);
      return [...beside, [x, y - 6, "middle"]];
    };
    const value = (values) => (x) => toY(values[Math.round(clamp((x - RANGE[0]) / (RANGE[1] - RANGE[0]), [0, 1]) * steps)]);
    const labels = [{ text: "p log (p/q)", spots: spots(f) }, { text: "q log (q/p)", spots: spots(r) }, { text: "0", cls: "quiet", spots: [[INSET.left - 6, Number(zero) + 4, "end"]] }];
    placeLabels(terms, termLabels, labels, [value(f), value(r)], []);
    at(".play-forward-value").textContent = klText(klForward(target, mu, sigma));
    at(".play-reverse-value").textContent = klText(klReverse(target, mu, sigma));
  };

  // The landscape

  const land = makePlot("land");
  const canvas = at(".play-land canvas");
  const landPaths = Object.fromEntries(["contour", "trail", "saddle"].map((cls) => [cls, add(land.svg, "path", { class: cls })]));
  const marks = add(land.svg, "g");
  const landLabels = add(land.svg, "g", { class: "play-labels" });
  land.svg.append(land.front);
  const ring = ringHandle(land);
  const LEVELS = [0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8];

  const colourOf = (name) => {
    const text = getComputedStyle(root).getPropertyValue(name).trim();
    return [1, 3, 5].map((i) => Number.parseInt(text.slice(i, i + 2), 16) || 0);
  };

  // Marching squares, each square's segments on their own.
  const contours = ({ columns, rows, kl }, lowest, levels) => {
    const px = (i) => toX(land, RANGE[0] + ((RANGE[1] - RANGE[0]) * i) / (columns - 1));
    const py = (j) => toLog(land, VIEW.log[0] + ((VIEW.log[1] - VIEW.log[0]) * j) / (rows - 1));
    const parts = [];
    const visible = Math.min(rows - 1, Math.ceil(((SD_VIEW[1] - VIEW.log[0]) / (VIEW.log[1] - VIEW.log[0])) * (rows - 1)));
    for (let j = 0; j < visible; j += 1) {
      for (let i = 0; i < columns - 1; i += 1) {
        const k = j * columns + i;
        const corners = [kl[k], kl[k + 1], kl[k + columns + 1], kl[k + columns]];
        const [low, high] = [Math.min(...corners) - lowest, Math.max(...corners) - lowest];
        for (const level of levels) {
          if (level < low) continue;
          if (level >= high) break;
          const cut = [];
          for (let side = 0; side < 4; side += 1) {
            const [a, b] = [corners[side] - lowest - level, corners[(side + 1) % 4] - lowest - level];
            if (a < 0 === b < 0) continue;
            const t = a / (a - b);
            const [x, y] = [[i + t, j], [i + 1, j + t], [i + 1 - t, j + 1], [i, j + 1 - t]][side];
            cut.push(`${px(x).toFixed(1)},${py(y).toFixed(1)}`);
          }
          for (let pair = 0; pair + 1 < cut.length; pair += 2) parts.push(`M${cut[pair]}L${cut[pair + 1]}`);
        }
      }
    }
    return parts.join("");
  };

  const shade = ({ columns, rows, kl }, lowest) => {
    const context = canvas.getContext("2d");
    const image = new ImageData(columns, rows);
    const [red, green, blue] = colourOf("--reverse");
    for (let j = 0; j < rows; j += 1) {
      for (let i = 0; i < columns; i += 1) {
        const depth = kl[j * columns + i] - lowest;
        image.data.set([red, green, blue, 135 / (1 + 2.2 * depth)], 4 * ((rows - 1 - j) * columns + i));
      }
    }
    [canvas.width, canvas.height] = [columns, rows];
    context.putImageData(image, 0, 0);
    // Grid points are the middles of the canvas's pixels.
    const [left, right] = [toX(land, RANGE[0]), toX(land, RANGE[1])];
    const [top, bottom] = [toLog(land, VIEW.log[1]), toLog(land, VIEW.log[0])];
    const [w, h] = [(right - left) / (columns - 1), (bottom - top) / (rows - 1)];
    const place = { left: left - w / 2, top: top - h / 2, width: w * columns, height: h * rows };
    for (const [name, value] of Object.entries(place)) canvas.style[name] = `${value.toFixed(2)}px`;
  };

  const drawLandscape = () => {
    const minima = found.points.filter((point) => point.kind === "minimum");
    const lowest = minima.length ? minima[0].kl : 0;
    shade(found.grid, lowest);
    // The levels of the saddles are where basins meet.
    const passes = found.points.filter((point) => point.kind === "saddle").map((point) => point.kl - lowest);
    landPaths.contour.setAttribute("d", contours(found.grid, lowest, [...LEVELS, ...passes].sort((a, b) => a - b)));
    marks.replaceChildren();
    const place = ({ mu, sigma }) => [toX(land, mu), toLog(land, Math.log(sigma))];
    const inView = ([x, y]) => x >= INSET.left && x <= land.right && y >= INSET.top - 6 && y <= land.bottom;
    const crosses = [];
    for (const point of found.points) {
      const [x, y] = place(point);
      if (!inView([x, y])) continue;
      if (point.kind === "minimum") add(marks, "circle", { class: point.global ? "minimum" : "minimum local", cx: x, cy: y, r: point.global ? 6 : 4.5 });
      else crosses.push(`M${x - 4.5},${y - 4.5}l9,9m0,-9l-9,9`);
    }
    landPaths.saddle.setAttribute("d", crosses.join(""));
    const [x, y] = place(optimum);
    if (inView([x, y])) add(marks, "rect", { class: "forward-mark", x: x - 4, y: y - 4, width: 8, height: 8, transform: `rotate(45 ${x} ${y})` });
    const beside = ([a, b]) => [[a + 11, b + 4, "start"], [a - 11, b + 4, "end"], [a, b + 21, "middle"], [a, b - 11, "middle"]];
    const labels = [
      ...minima.map((point) => ({ text: klText(point.kl), spots: beside(place(point)) })),
      { text: "forward", spots: beside([x, y]) },
    ].filter(({ spots }) => inView([spots[2][0], spots[2][1] - 21]));
    placeLabels(land, landLabels, labels, [], [...found.points, optimum].map(place).map(([a, b]) => [a - 7, b - 7, a + 7, b + 7]));
  };

  const drawRun = () => {
    const [mu, sigma] = state.q;
    ring.place(toX(land, mu), toLog(land, Math.log(sigma)));
    landPaths.trail.setAttribute("class", trail ? `trail ${trail[0]}` : "trail");
    const points = trail ? trail[1].map(([m, s]) => `${toX(land, m).toFixed(1)},${toLog(land, Math.log(s)).toFixed(1)}`) : [];
    landPaths.trail.setAttribute("d", points.length > 1 ? "M" + points.join(" ") : "");
  };

  // Words

  const member = ({ mu, sigma }) => `N(${fixed(mu, 3)},${NBSP}${fixed(sigma, 3)}\u00b2)`;

  const coverWords = () => {
    const order = names();
    const hit = covers(target, ...state.q).flatMap((yes, i) => (yes ? [order[i]] : []));
    const sorted = sides(state.modes.length).filter((name) => hit.includes(name));
    if (sorted.length === 0) return "no mode";
    if (sorted.length === state.modes.length) return ["the only mode", "both modes", "all three modes"][sorted.length - 1];
    return `the ${listed(sorted)} mode${sorted.length > 1 ? "s" : ""}`;
  };

  const summary = () => {
    const [mu, sigma] = state.q;
    const minima = found.points.filter((point) => point.kind === "minimum");
    const saddles = found.points.filter((point) => point.kind === "saddle");
    const groups = [];
    for (const point of minima) {
      const words = `${minima.length > 1 ? (point.global ? "global, " : "local, ") : ""}${klText(point.kl)}`;
      if (groups.at(-1)?.words === words) groups.at(-1).points.push(member(point));
      else groups.push({ words, points: [member(point)] });
    }
    const minimaWords = groups.map(({ words, points }) => `${listed(points)} (${words})`);
    return [
      `q covers ${coverWords()}: KL(p\u2016q) ${klText(klForward(target, mu, sigma))}, KL(q\u2016p) ${klText(klReverse(target, mu, sigma))} nats.`,
      `Forward KL has one minimum, ${member(optimum)} (${klText(optimum.kl)}).`,
      `Reverse KL has ${counted(minima.length, "minimum", "minima")}, ${listed(minimaWords)}` +
        (saddles.length ? `, and ${counted(saddles.length, "saddle")}` : "") + `; the count is ${found.consistent ? "consistent" : "not consistent"}.`,
    ].join(" ");
  };

  const say = (selector, text) => {
    if (at(selector).textContent !== text) at(selector).textContent = text;
  };

  // Drawing, and what waits until nothing moves

  const compute = (fine) => {
    if (stale.target) target = makeTarget(state.modes);
    if (stale.target) optimum = forward(target);
    const known = fine || !found ? [] : found.points.map((point) => [point.mu, Math.log(point.sigma)]);
    found = explore(target, fine, known);
    stale = { ...stale, target: false, fine: !fine };
  };

  const drawControls = () => {
    const pressed = JSON.stringify(state.modes);
    root.querySelectorAll(".play-presets button").forEach((button, i) => button.setAttribute("aria-pressed", String(JSON.stringify(PRESETS[i].modes) === pressed)));
    const order = names();
    root.querySelectorAll(".play-weight").forEach((label, i) => {
      label.hidden = i >= state.modes.length || state.modes.length < 2;
      if (label.hidden) return;
      const value = target.modes[i][0];
      label.querySelector(".play-which").textContent = order[i];
      const input = label.querySelector("input");
      input.value = String(round(value));
      attributes(input, { "aria-label": `Weight of the ${order[i]} mode`, "aria-valuetext": fixed(value, 2) });
      label.querySelector(".play-share").textContent = fixed(value, 2);
    });
    at(".play-weights-name").hidden = state.modes.length < 2;
    at(".play-add").disabled = state.modes.length >= LIMITS.modes;
    at(".play-remove").disabled = state.modes.length < 2;
  };

  const draw = () => {
    const changed = stale.target || stale.size;
    if (stale.size) {
      measure();
      drawAxes();
    }
    if (stale.target) compute(false);
    stale.size = false;
    drawMain();
    drawTerms();
    if (changed) {
      drawLandscape();
      drawControls();
    }
    drawRun();
  };

  const settle = () => {
    if (running) return;
    if (stale.target || stale.fine) {
      compute(true);
      stale.size = true;
      draw();
    }
    say(".play-run-words", report);
    say(".play-words", summary());
    if (!touched) return;
    try {
      globalThis.history.replaceState(null, "", encode(state));
    } catch {
      // A page that may not change its address: the link is still copied from the state.
    }
  };

  // Runs

  const showStop = (shown) => {
    at(".play-stop").hidden = !shown;
    at(".play-again").hidden = shown;
  };

  const stop = () => {
    if (running) cancelAnimationFrame(running);
    running = null;
    showStop(false);
  };

  // `advance` does one frame's work and says whether that was the last; `finish` writes the report.
  const run = (advance, finish) => {
    const end = () => {
      stop();
      finish();
      schedule();
    };
    if (still()) {
      while (!advance());
      return end();
    }
    say(".play-run-words", "");
    showStop(true);
    const turn = () => {
      if (advance()) return end();
      running = requestAnimationFrame(turn);
      return undefined;
    };
    running = requestAnimationFrame(turn);
    return undefined;
  };

  const minimumWords = (end) => {
    if (end.kind !== "minimum") return `a ${end.kind} of reverse KL, ${member(end)}`;
    const same = found.points.find((point) => Math.abs(point.mu - end.mu) < 1e-3 && Math.abs(point.sigma - end.sigma) < 1e-3);
    const several = found.points.filter((point) => point.kind === "minimum").length > 1;
    return `the ${several && same ? (same.global ? "global " : "local ") : ""}minimum, ${member(end)}`;
  };
  const missedWords = () => `The central 99.9${NBSP}% of q leaves out ${percent(missed(target, ...state.q))} of p_data\u2019s mass.`;

  const descendFromHere = () => {
    stop();
    if (stale.target) compute(false);
    const { path, end } = descend(target, ...state.q);
    trail = ["flow", []];
    let done = 0;
    run(
      () => {
        const next = Math.min(path.length, done + Math.max(1, Math.ceil(path.length / 50)));
        trail[1].push(...path.slice(done, next));
        done = next;
        moveQ(...path[done - 1]);
        return done >= path.length;
      },
      () => {
        moveQ(end.mu, end.sigma);
        report = `Downhill q comes to rest at ${minimumWords(end)}. ${missedWords()}`;
      },
    );
  };

  const advi = (from, withSeed) => {
    stop();
    if (stale.target) compute(false);
    [origin, seed] = [from, withSeed];
    const rule = at(".play-rule").value;
    const fit = makeAdvi(target, ...from, seed, rule);
    trail = ["noisy", [from]];
    at(".play-again").disabled = false;
    at(".play-again").textContent = `Again, seed ${seed + 1}`;
    run(
      () => {
        fit.advance(fit.total / 200);
        moveQ(fit.mu, fit.sigma);
        trail[1].push([fit.mu, fit.sigma]);
        return fit.done >= fit.total;
      },
      () => {
        const { end } = descend(target, fit.mu, fit.sigma);
        const gap = klReverse(target, fit.mu, fit.sigma) - end.kl;
        report = `ADVI, seed ${seed} (${RULES[rule].words}, ${fit.total / 1000}${NBSP}000 steps), ended ${klText(gap)} nats above ` +
          `${minimumWords(end)}. ${missedWords()}`;
      },
    );
  };

  // Controls

  const load = ({ modes, q }) => {
    setModes(modes.map((mode) => [...mode]));
    moveQ(...q);
  };

  const copyLink = async () => {
    touched = true;
    settle();
    const link = globalThis.location.href.split("#")[0] + encode(state);
    let copied = false;
    try {
      await globalThis.navigator.clipboard.writeText(link);
      copied = true;
    } catch {
      const area = document.createElement("textarea");
      area.value = link;
      document.body.append(area);
      area.select();
      copied = document.execCommand("copy");
      area.remove();
      at(".play-copy").focus();
    }
    at(".play-copy").textContent = copied ? "Copied" : "The address holds it";
    setTimeout(() => { at(".play-copy").textContent = "Copy link"; }, 1600);
  };

  const addMode = () => {
    const share = 1 / (state.modes.length + 1);
    const means = [0, -5, 5, -2.5, 2.5];
    const gap = (mean) => Math.min(...state.modes.map(([, m]) => Math.abs(m - mean)));
    const mean = means.reduce((best, next) => (gap(next) > gap(best) ? next : best));
    setModes([...state.modes.map(([w, m, s]) => [round(w * (1 - share)), m, s]), [round(share), mean, 1]]);
  };

  const removeMode = () => {
    const lightest = state.modes.reduce((best, [w], i, all) => (w <= all[best][0] ? i : best), 0);
    const left = state.modes.filter((_, i) => i !== lightest);
    const total = left.reduce((sum, [w]) => sum + w, 0);
    setModes(left.map(([w, m, s]) => [round(w / total), m, s]));
  };

  PRESETS.forEach((preset) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = preset.name;
    button.addEventListener("click", () => load(preset));
    at(".play-presets").append(button);
  });
  root.querySelectorAll(".play-weight input").forEach((input, i) => input.addEventListener("input", () => changeMode(i, 0, Number(input.value))));
  const press = (selector, action) => at(selector).addEventListener("click", action);
  press(".play-add", addMode);
  press(".play-remove", removeMode);
  press(".play-descend", descendFromHere);
  press(".play-advi", () => advi([...state.q], Math.max(seed, 1)));
  press(".play-again", () => advi(origin, seed + 1));
  press(".play-copy", copyLink);
  press(".play-stop", () => {
    stop();
    report = "Stopped.";
    schedule();
  });

  const refuse = (why, instead) => {
    stop();
    report = `The link was not used, since ${why}; ${instead}.`;
    schedule();
  };
  const restyle = () => {
    stale.size = true;
    schedule();
  };
  globalThis.addEventListener("hashchange", () => {
    const linked = readLink(globalThis.location.hash);
    if (linked.state) load(linked.state);
    if (linked.why) refuse(linked.why, "nothing is changed");
  });
  globalThis.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);

  at(".play-still").hidden = true;
  at(".play-body").hidden = false;
  const linked = readLink(globalThis.location.hash);
  const first = linked.state ?? PRESETS[0];
  if (linked.why) refuse(linked.why, "an example is shown");
  state = { modes: first.modes.map((mode) => [...mode]), q: [...first.q] };
  draw();
  settle();
  new ResizeObserver(restyle).observe(root);
})();
