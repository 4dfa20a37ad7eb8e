// A network as blocks from left to right: how wide each is, what it holds, and what it costs.

const LAYER_WIDTH = 38; // CSS pixels: labels of five characters stay readable
const BLOCKS = 150;
const BARS = 84;
const GAP = 30;
const [TOP, BOTTOM] = [56, 96];

const kindOf = (operator) => BLOCK_KINDS[operator.kernel] ?? BLOCK_KINDS[operator.kind] ?? BLOCK_KINDS.other;

// A row for every cost, those of devices first.
const rowsOf = (data) => [...data.costs.keys()].sort((a, b) => (data.costs[b].device !== null) - (data.costs[a].device !== null));

const layerTip = (data, { slot, operator }) => [
  slot,
  operator.text,
  operator.in === undefined ? null : `channels ${operator.in} → ${operator.out}, map ${operator.side} → ${operator.output_side}`,
  ...data.costs.map((cost, index) => `${costTitle(cost)} ${quantity(operator.costs[index], cost.unit)}`),
].filter((line) => line !== null).join("\n");

const layersFigure = (data, network) => (palette) => {
  const layers = layersOf(data, network);
  const rows = rowsOf(data);
  const plotHeight = BLOCKS + rows.length * (BARS + GAP);
  const height = plotHeight + TOP + BOTTOM;
  const tips = layers.map((layer) => lines(layerTip(data, layer)));
  const kinds = [...new Set(layers.map(({ operator }) => kindOf(operator)))];
  // a trace for every kind of block: Plotly hatches whole traces
  const bars = (values, yaxis, showlegend) => kinds.map((kind) => {
    const own = [...layers.keys()].filter((index) => kindOf(layers[index].operator) === kind);
    const colour = kind.colour === null ? palette.dot : palette.series[kind.colour];
    return {
      type: "bar", x: own, y: own.map((index) => values[index]), yaxis, width: 0.86, hoverinfo: "text", hovertext: own.map((index) => tips[index]),
      name: kind.title, legendgroup: kind.title, showlegend,
      marker: { color: colour, line: { width: 0 }, pattern: { shape: kind.pattern, bgcolor: colour, fgcolor: palette.page, fgopacity: 0.7, size: 7, solidity: 0.3 } },
    };
  });
  const blocks = layers.map(({ operator }) => operator.out ?? 0);
  const traces = bars(blocks, "y", true);
  const layout = frame(palette, {
    height, barmode: "overlay", margin: { l: 56, r: 14, t: TOP, b: BOTTOM }, showlegend: true,
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1 + 22 / plotHeight, yanchor: "bottom", font: { size: 12 } },
    xaxis: axis(palette, "", {
      tickvals: [...layers.keys()], ticktext: layers.map(({ slot }) => plain(slot)), tickangle: -50, range: [-0.6, layers.length - 0.4], showgrid: false, fixedrange: true,
      anchor: rows.length ? `y${rows.length + 1}` : "y", nticks: undefined, tickfont: { size: 11 },
    }),
    yaxis: axis(palette, "", { domain: [1 - BLOCKS / plotHeight, 1], range: [0, 1.3 * Math.max(...blocks)], nticks: 4, fixedrange: true }),
    annotations: [{ ...rowTitle(palette, "output channels, with kernel and expansion (e)"), y: 1 }],
    shapes: [],
  });
  layers.forEach(({ operator }, index) => {
    if (!operator.label) return;
    layout.annotations.push({ x: index, y: blocks[index], yanchor: "bottom", showarrow: false, text: plain(operator.label).replaceAll(" ", "<br>"), font: { size: 11, color: palette.ink } });
  });
  rows.forEach((cost, row) => {
    const top = 1 - (BLOCKS + row * (BARS + GAP) + GAP) / plotHeight;
    const values = layers.map(({ operator }) => operator.costs[cost]);
    const unit = unitFor(data.costs[cost].unit, Math.max(...values));
    traces.push(...bars(values.map((value) => value / unit.factor), `y${row + 2}`, false));
    layout[`yaxis${row + 2}`] = axis(palette, "", { domain: [Math.max(top - BARS / plotHeight, 0), top], nticks: 3, rangemode: "tozero", fixedrange: true });
    const whole = data.costs[cost].reduce === "sum" ? "sum" : "largest";
    layout.annotations.push({ ...rowTitle(palette, `${costTitle(data.costs[cost])}${unit.name ? `, ${unit.name}` : ""} (the network's is the ${whole})`), y: top });
  });
  layout.shapes = resolutionBands(layers, palette);
  for (const band of layout.shapes) {
    layout.annotations.push({ x: (band.x0 + band.x1) / 2, y: 0, yref: "paper", yanchor: "bottom", yshift: plotHeight - 18, showarrow: false, text: band.name, font: { size: 11, color: palette.soft } });
  }
  return { traces, layout, width: 70 + LAYER_WIDTH * layers.length };
};

const rowTitle = (palette, text) => ({
  xref: "paper", x: 0, xanchor: "left", yref: "paper", yanchor: "bottom", showarrow: false, text: plain(text), font: { size: 12, color: palette.soft },
});

// A band behind the layers whose output maps have one size, every other one shaded.
const resolutionBands = (layers, palette) => {
  const bands = [];
  layers.forEach(({ operator }, index) => {
    const side = operator.output_side;
    if (side === undefined) return;
    const last = bands.at(-1);
    if (last?.side === side) last.end = index;
    else bands.push({ side, start: index, end: index });
  });
  return bands.map(({ side, start, end }, number) => ({
    type: "rect", layer: "below", x0: start - 0.5, x1: end + 0.5, y0: 0, y1: 1, yref: "paper", line: { width: 0 },
    fillcolor: number % 2 ? "rgba(0,0,0,0)" : palette.panel, name: `${side}×${side}`,
  }));
};

// The same as a table, for those who do not see the bars.
const layersTable = (data, network) => {
  const rows = rowsOf(data);
  const head = ["layer", "operator", "channels", "map", ...rows.map((cost) => costTitle(data.costs[cost]))];
  const body = layersOf(data, network).map(({ slot, operator }) => make("tr", {},
    make("td", {}, slot), make("td", { class: "text" }, operator.text),
    make("td", {}, operator.in === undefined ? "" : `${operator.in} → ${operator.out}`),
    make("td", {}, operator.side === undefined ? "" : `${operator.side} → ${operator.output_side}`),
    ...rows.map((cost) => make("td", {}, quantity(operator.costs[cost], data.costs[cost].unit)))));
  const heading = make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)));
  return make("table", {}, make("thead", {}, heading), make("tbody", {}, ...body));
};
