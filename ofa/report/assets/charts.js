// The charts that carry their own numbers: predicted against measured, curves over training, the search's progress.

const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
const padded = ([low, high], room = 0.05) => {
  if (low > high) return [0, 1]; // of no values
  const pad = (high - low) * room || Math.abs(high) * room || 1;
  return [low - pad, high + pad];
};

const CHARTS = {
  // Both axes alike, but for intervals that reach beyond; the corridor is the relative error `band`. Bars are the predicted intervals.
  agreement(facts, palette) {
    const { factor, ticksuffix } = format(facts.axis);
    const points = facts.points.map(([x, y, tip, lower, upper]) => [x * factor, y * factor, tip, (lower ?? y) * factor, (upper ?? y) * factor]);
    const [low, high] = padded(extent(points.flatMap(([x, y]) => [x, y])));
    const intervals = padded(extent(points.flatMap(([x, y, , lower, upper]) => [x, y, lower, upper])));
    const traces = [];
    if (facts.band !== null) {
      const [less, more] = [1 - facts.band, 1 + facts.band];
      traces.push({
        x: [low, high, high, low], y: [low * more, high * more, high * less, low * less], fill: "toself",
        mode: "none", fillcolor: faint(palette.band, 0.18), hoverinfo: "skip",
      });
    }
    traces.push({ x: [low, high], y: [low, high], mode: "lines", line: { color: palette.soft, dash: "dash", width: 1.4 }, hoverinfo: "skip" });
    traces.push({
      x: points.map((p) => p[0]), y: points.map((p) => p[1]), mode: "markers", hoverinfo: "text", hovertext: points.map((p) => lines(p[2])),
      marker: { color: palette.series[0], size: 8, opacity: 0.8 },
      error_y: {
        visible: points.some((p) => p[3] !== p[4]), symmetric: false, color: faint(palette.series[0], 0.35), thickness: 1.2, width: 0,
        array: points.map((p) => p[4] - p[1]), arrayminus: points.map((p) => p[1] - p[3]),
      },
    });
    const layout = frame(palette, {
      height: 340,
      xaxis: axis(palette, `measured ${facts.axis.title}`, { range: [low, high], ticksuffix }),
      yaxis: axis(palette, `predicted ${facts.axis.title}`, { range: intervals, ticksuffix }),
    });
    return { traces, layout };
  },

  curves(facts, palette) {
    const { factor, ticksuffix } = format(facts.axis);
    const traces = Object.entries(facts.curves).map(([label, curve], index) => ({
      x: curve.map(([x]) => x), y: curve.map(([, y]) => y * factor), name: plain(label),
      mode: curve.length > 60 ? "lines" : "lines+markers",
      line: { color: series(palette, index), dash: DASHES[index % DASHES.length], width: 2 },
      marker: { color: series(palette, index), symbol: SYMBOLS[index % SYMBOLS.length], size: 8 },
      hoverinfo: "text", hovertext: curve.map(([x, y]) => lines(`${label}\n${facts.x_title} ${x}: ${digits(y * factor)}${ticksuffix}`)),
    }));
    const layout = frame(palette, {
      height: 340, showlegend: true,
      xaxis: axis(palette, facts.x_title), yaxis: axis(palette, facts.axis.title, { ticksuffix }),
    });
    return { traces, layout };
  },

  // One dot an evaluation, by the order of arrival; the line is the best so far.
  progress(facts, palette) {
    const { factor, ticksuffix } = format(facts.axis);
    const groups = [...new Set(facts.points.map(([group]) => group))];
    let best = -Infinity;
    const highest = facts.points.map(([, value]) => (best = Math.max(best, value * factor)));
    const traces = groups.map((group, index) => {
      const own = facts.points.map((point, number) => [number + 1, ...point]).filter((point) => point[1] === group);
      return {
        x: own.map((p) => p[0]), y: own.map((p) => p[2] * factor), name: plain(group), mode: "markers",
        marker: { color: series(palette, index), symbol: ["circle", ...SYMBOLS][index % 7], size: 7, opacity: 0.7 },
        hoverinfo: "text", hovertext: own.map((p) => lines(`evaluation ${p[0]}, ${group}\n${p[3]}\n${digits(p[2] * factor)}${ticksuffix}`)),
      };
    });
    traces.push({
      x: highest.map((_, number) => number + 1), y: highest, name: "best so far", mode: "lines",
      line: { color: palette.front, shape: "hv", width: 2 }, hoverinfo: "skip",
    });
    const layout = frame(palette, {
      height: 340, showlegend: true,
      xaxis: axis(palette, "evaluations"), yaxis: axis(palette, facts.axis.title, { ticksuffix }),
    });
    return { traces, layout };
  },
};

// Every figure that carries facts, in the order of the page.
const figuresWithFacts = () => [...document.querySelectorAll("figure.chart > script.facts")].map((script) => {
  const facts = JSON.parse(script.textContent);
  const element = script.parentElement.querySelector(".plot");
  return () => draw(element, (palette) => CHARTS[facts.kind](facts, palette));
});
