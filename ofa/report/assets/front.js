// Accuracy against one cost: every evaluated network, the predicted front with its band, winners, limits, what is chosen.

const frontIndex = (data, name) => data.costs.findIndex((cost) => cost.name === name);

// What is said of a network: key, architecture, accuracies, what it takes.
const networkTip = (data, totals, network, costs) => {
  const { networks } = data;
  const measured = accuracyOf(networks.measured, network);
  const predicted = accuracyOf(networks.predicted, network);
  return [
    `${networks.keys[network]} (${networks.origins[network]})`,
    networks.words[network].replaceAll(" · ", "\n"),
    measured ? `measured ${accuracyText(measured)}` : "not evaluated",
    predicted ? `predicted ${accuracyText(predicted)}` : null,
    ...costs.map((cost) => `${costTitle(data.costs[cost])} ${costText(data.costs[cost], totals[cost][network])}`),
  ].filter((line) => line !== null).join("\n");
};

const winnerPlace = (data, totals, winner, cost) => {
  const measured = winner.measured[data.costs[cost].name];
  const accuracy = data.networks.measured.mean[winner.network] ?? data.networks.predicted?.mean[winner.network];
  return { x: measured ? measured[0] : totals[cost][winner.network], y: accuracy, measured };
};

// The figure of a cost. `state`: {chosen, picked} networks (-1: none) and the sliders' limits, by cost.
const frontFigure = (data, totals, cost, state) => (palette) => {
  const facts = data.costs[cost];
  const unit = unitFor(facts.unit, totals[cost].reduce((high, value) => Math.max(high, value), 0));
  const x = (value) => value / unit.factor;
  const { networks } = data;
  const evaluated = networks.keys.map((_, network) => network).filter((network) => networks.measured.mean[network] !== null);
  const front = data.fronts[facts.name] ?? [];
  const traces = [];
  if (front.length > 1 && front.every((point) => "lower" in point)) {
    const back = [...front].reverse();
    traces.push({
      x: [...front, ...back].map((p) => x(p.cost)), y: [...front.map((p) => 100 * p.upper), ...back.map((p) => 100 * p.lower)],
      fill: "toself", mode: "none", fillcolor: faint(palette.band, 0.2), hoverinfo: "skip", showlegend: false,
    });
  }
  traces.push({
    x: evaluated.map((n) => x(totals[cost][n])), y: evaluated.map((n) => 100 * networks.measured.mean[n]), customdata: evaluated,
    mode: "markers", name: `${evaluated.length} evaluated networks`, hoverinfo: "text",
    hovertext: evaluated.map((n) => lines(networkTip(data, totals, n, [cost]))),
    marker: { color: palette.dot, size: 7, opacity: 0.6 },
  });
  if (front.length) {
    traces.push({
      x: front.map((p) => x(p.cost)), y: front.map((p) => 100 * p.accuracy), customdata: front.map((p) => p.network),
      mode: "lines+markers", name: "predicted front, with its interval", hoverinfo: "text",
      hovertext: front.map((p) => lines(`predicted front: ${p.network === null ? `${p.key}\npredicted ${share(p.accuracy)}, ${quantity(p.cost, facts.unit)}` : networkTip(data, totals, p.network, [cost])}`)),
      line: { color: palette.front, shape: "hv", width: 1.6 }, marker: { color: palette.front, size: 6 },
    });
  }
  data.winners.forEach((winner, index) => {
    const place = winnerPlace(data, totals, winner, cost);
    if (place.y === null || place.y === undefined) return;
    const times = place.measured?.map((value) => quantity(value, facts.unit));
    const timed = times ? `\nmeasured here ${times[0]} (10th to 90th percentile ${times[1]} to ${times[2]})` : "";
    traces.push({
      x: [x(place.x)], y: [100 * place.y], customdata: [winner.network], mode: "markers", name: plain(`winner ${winner.name}`),
      hoverinfo: "text", hovertext: [lines(`winner ${winner.name}: ${networkTip(data, totals, winner.network, [cost])}${timed}`)],
      marker: { color: series(palette, index), symbol: SYMBOLS[index % SYMBOLS.length], size: 14, line: { color: palette.page, width: 2 } },
    });
  });
  const xs = [...evaluated.map((n) => totals[cost][n]), ...front.map((p) => p.cost), ...data.winners.map((w) => w.limits[facts.name] ?? NaN)];
  const ys = [...evaluated.map((n) => networks.measured.mean[n]), ...front.map((p) => p.accuracy)];
  const [left, right] = padded(extent(xs.filter(Number.isFinite).map(x)));
  const [low, high] = padded(extent(ys.map((y) => 100 * y)));
  const layout = frame(palette, {
    // margins that are known save Plotly a second drawing; the legend is the page's own
    height: 430, margin: { l: 70, r: 14, t: 10, b: 46, autoexpand: false }, dragmode: window.matchMedia("(pointer: fine)").matches ? "zoom" : false,
    xaxis: axis(palette, `${costTitle(facts)}${unit.name ? ` (${unit.name})` : ""}`, { range: [Math.max(left, 0), right] }),
    yaxis: axis(palette, "accuracy, selection split", { range: [Math.max(low, 0), high + 0.12 * (high - low)], ticksuffix: " %" }),
    ...frontMarks(data, totals, cost, state, palette),
  });
  return { traces, layout };
};

// What changes while sliding and choosing, as shapes and annotations alone: dots need not be drawn again.
const frontMarks = (data, totals, cost, state, palette) => {
  const facts = data.costs[cost];
  const { factor } = unitFor(facts.unit, totals[cost].reduce((high, value) => Math.max(high, value), 0));
  const shapes = [];
  const annotations = [];
  const upright = (value, colour, dash) => shapes.push({
    type: "line", x0: value / factor, x1: value / factor, y0: 0, y1: 1, yref: "paper", line: { color: colour, width: 1.6, dash }, layer: "below",
  });
  data.winners.forEach((winner, index) => {
    const limit = winner.limits[facts.name];
    if (limit === undefined) return;
    upright(limit, series(palette, index), "dash");
    annotations.push({
      x: limit / factor, y: 0.02 + 0.055 * (index % 4), yref: "paper", yanchor: "bottom", xanchor: "left", xshift: 3, showarrow: false,
      text: plain(winner.name), font: { color: series(palette, index), size: 12 }, bgcolor: faint(palette.page, 0.75),
    });
  });
  if (state.limits[cost] !== null) upright(state.limits[cost], palette.ink, "solid");
  const mark = (network, text, ax) => {
    if (network < 0) return;
    const accuracy = accuracyOf(data.networks.measured, network) ?? accuracyOf(data.networks.predicted, network);
    if (accuracy === null) return;
    const x = totals[cost][network] / factor;
    const line = { color: palette.bad, width: 2 };
    if (accuracy.lower !== null) shapes.push({ type: "line", x0: x, x1: x, y0: 100 * accuracy.lower, y1: 100 * accuracy.upper, line });
    if (facts.interval) shapes.push({ type: "line", x0: x * facts.interval[0], x1: x * facts.interval[1], y0: 100 * accuracy.mean, y1: 100 * accuracy.mean, line });
    shapes.push({ type: "circle", xsizemode: "pixel", ysizemode: "pixel", xanchor: x, yanchor: 100 * accuracy.mean, x0: -9, x1: 9, y0: -9, y1: 9, line });
    annotations.push({ x, y: 100 * accuracy.mean, text, ax, ay: -34, arrowcolor: palette.bad, font: { color: palette.bad, size: 13 }, bgcolor: faint(palette.page, 0.75) });
  };
  if (state.picked === state.chosen) mark(state.chosen, "picked", 26);
  else mark(state.chosen, "chosen", -26);
  return { shapes, annotations };
};
