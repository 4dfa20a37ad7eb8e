// Charts of several runs: a run has one colour, one symbol and one kind of dash, in all of them. Uses the report page's
// text.js, theme.js and plots.js. Everything is on the page in words and tables without this.

const kept = new Map(); // chart -> facts
const shown = { axis: "macs" };

const lookOf = (palette, run) => ({
  colour: series(palette, run), symbol: SYMBOLS[run % SYMBOLS.length],
  dash: DASHES[(run + Math.floor(run / palette.series.length)) % DASHES.length],
});

// A legend under the chart, one entry a run; clicking it hides or shows all that the run has there.
const legend = { showlegend: true, legend: { orientation: "h", x: 0, y: -0.17, yanchor: "top", groupclick: "togglegroup", font: { size: 13 } } };

const frontChart = (facts, palette) => {
  const base = facts.unit;
  const largest = Math.max(...facts.fronts.flatMap((front) => [...front.records, ...front.winners].map(([x]) => x)), 0);
  const unit = unitFor(base, largest || 1);
  const traces = [];
  for (const front of facts.fronts) {
    const label = plain(facts.labels[front.run]);
    const { colour, symbol, dash } = lookOf(palette, front.run);
    const add = (trace) => traces.push({ name: label, legendgroup: String(front.run), hoverinfo: "text", showlegend: false, ...trace });
    const tip = (key, x, y, more) => lines(`${facts.labels[front.run]}: ${key}\n${share(y)} selection accuracy\n${quantity(x, base)} ${more}`);
    const spread = (points, trace) => add({ x: points.map(([x]) => x / unit.factor), y: points.map((point) => 100 * point[1]), ...trace });
    spread(front.records, {
      mode: "markers", marker: { color: colour, symbol, size: 5, opacity: 0.4 },
      hovertext: front.records.map(([x, y, key]) => tip(key, x, y, "predicted")),
    });
    const best = front.records.filter((point) => point[3]);
    spread(best, {
      mode: "lines+markers", line: { color: colour, dash, shape: "hv", width: 2 }, marker: { color: colour, symbol, size: 7 }, showlegend: true,
      hovertext: best.map(([x, y, key]) => tip(key, x, y, "predicted, on the front")),
    });
    spread(front.winners, {
      mode: "markers", marker: { color: colour, symbol, size: 15, line: { color: palette.page, width: 2 } },
      hovertext: front.winners.map(([x, y, budget, key, measured]) => tip(`winner of “${budget}”, ${key}`, x, y, measured ? "measured" : "predicted")),
    });
  }
  return {
    traces,
    layout: frame(palette, {
      height: 460, ...legend, xaxis: axis(palette, `${facts.title} (${unit.name || "number"})`),
      yaxis: axis(palette, "selection accuracy", { ticksuffix: " %" }),
    }),
  };
};

const curvesChart = (facts, palette, role) => {
  const factor = facts.percent ? 100 : 1;
  const all = facts.runs.map((run) => run[role] ?? []);
  // a run whose log does not tell MACs is drawn by steps alone
  const place = shown.axis === "macs" ? 1 : 0;
  const points = all.map((curve) => curve.filter((point) => point[place] !== null));
  const unit = place ? unitFor("MACs", Math.max(1, ...points.flat().map((point) => point[1]))) : { name: "", factor: 1 };
  const title = place ? `MACs spent on training (${unit.name})` : "training step";
  const traces = points.map((curve, run) => {
    const { colour, symbol, dash } = lookOf(palette, run);
    return {
      x: curve.map((point) => point[place] / unit.factor), y: curve.map((point) => point[2] * factor), name: plain(facts.labels[run]),
      mode: curve.length > 40 ? "lines" : "lines+markers", line: { color: colour, dash, width: 2 }, marker: { color: colour, symbol, size: 9 },
      hoverinfo: "text", hovertext: curve.map(([step, macs, value]) => lines(
        `${facts.labels[run]}, ${role}\nstep ${step}${macs === null ? "" : `, ${quantity(macs, "MACs")}`}\n${facts.percent ? share(value) : digits(value)}`)),
    };
  });
  return {
    traces: traces.filter((trace) => trace.x.length),
    layout: frame(palette, {
      height: 360, ...legend, xaxis: axis(palette, title),
      yaxis: axis(palette, `${facts.title}, ${role}`, { ticksuffix: facts.percent ? " %" : "" }),
    }),
  };
};

const press = (buttons, chosen) => { for (const button of buttons) button.setAttribute("aria-pressed", String(button === chosen)); };

// Buttons of a group: the one that is pressed is chosen, and `act` hears of it.
const choosing = (group, act) => {
  const buttons = [...group.querySelectorAll("button")];
  group.hidden = buttons.length < 2;
  for (const button of buttons) button.addEventListener("click", () => { press(buttons, button); act(button.dataset); });
};

const startComparison = () => {
  followThePage();
  for (const script of document.querySelectorAll("script.comparison")) {
    const facts = JSON.parse(script.textContent);
    const element = script.parentElement.querySelector(".plot");
    if (facts.kind === "front") {
      draw(element, (palette) => frontChart(facts, palette));
      continue;
    }
    const chosen = { role: facts.roles[0] };
    kept.set(element, facts);
    const build = (palette) => curvesChart(facts, palette, chosen.role);
    if (!facts.roles.length) continue;
    draw(element, build);
    choosing(script.closest("div").querySelector(".chooser"), ({ role }) => { chosen.role = role; draw(element, build); });
  }
  const axes = document.querySelector("#training > .chooser");
  if (axes) choosing(axes, ({ axis: chosen }) => { shown.axis = chosen; redraw([...kept.keys()].filter((element) => builders.has(element))); });
  document.documentElement.dataset.compared = "complete";
};

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", startComparison);
else startComparison();
