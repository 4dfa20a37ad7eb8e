// The page put together: what is chosen, who hears of it, and in which order things are drawn. All text, tables and
// winners stand there without this.

const start = () => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  followThePage();
  const jobs = figuresWithFacts();
  if (data.networks?.keys.length) explore(data);
  performance.mark("interactive");
  document.documentElement.dataset.ready = "interactive";
  // the rest one after another, so that nothing waits long for the reader's hand
  const next = () => {
    const job = jobs.shift();
    if (job) { job(); setTimeout(next); return; }
    performance.mark("complete");
    document.documentElement.dataset.ready = "complete";
  };
  setTimeout(next);
};

const explore = (data) => {
  const totals = totalsOf(data);
  const state = { chosen: -1, picked: -1, limits: data.costs.map(() => null) };
  const fronts = buildFronts(data, totals, state, (network) => choose(network));
  const layers = buildLayers(data, totals, (network) => choose(network));
  // while a slider moves, marks follow at once and layers when the hand rests
  let later = 0;
  const choose = (network) => {
    if (network === null || network === undefined || network === state.chosen) return;
    state.chosen = network;
    fronts.mark();
    clearTimeout(later);
    later = setTimeout(() => layers.show(network), later ? 120 : 0);
  };
  const slide = (limits, basis) => {
    const scores = BASES[basis].of(data.networks);
    state.limits = limits;
    state.picked = pick(totals, scores, limits);
    if (state.picked >= 0 && state.picked !== state.chosen) choose(state.picked);
    else fronts.mark();
    return state.picked >= 0 ? pickedWords(data, totals, state.picked, limits) : refusedWords(data, totals, scores, limits);
  };
  const section = document.getElementById("budgets");
  section.hidden = !basesOf(data.networks).length; // nothing to rank by: neither a predictor nor an evaluation
  if (!section.hidden) buildBudgets(section.querySelector(".controls"), data, totals, slide);
  fronts.drawAll();
};

// One chart for every cost, of which the tabs show one. It is drawn when it is first shown.
const buildFronts = (data, totals, state, choose) => {
  const panels = [...document.querySelectorAll("[role=tabpanel][data-cost]")];
  const tabs = [...document.querySelectorAll("[role=tab][data-cost]")];
  const plotOf = (panel) => panel.querySelector(".plot");
  const costOf = (panel) => frontIndex(data, panel.dataset.cost);
  for (const panel of panels) {
    const plot = plotOf(panel);
    onClick(plot, choose);
  }
  const drawAll = () => { for (const panel of panels) draw(plotOf(panel), frontFigure(data, totals, costOf(panel), state)); };
  const show = (wanted) => {
    for (const tab of tabs) {
      const chosen = tab === wanted;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    for (const panel of panels) panel.hidden = panel.dataset.cost !== wanted.dataset.cost;
    drawWaiting();
    mark();
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => show(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step === undefined) return;
      const next = tabs[(index + step + tabs.length) % tabs.length];
      next.focus();
      show(next);
    });
  });
  if (tabs.length) tabs[0].parentElement.hidden = false;
  const mark = () => {
    const palette = colours();
    for (const panel of panels) {
      const plot = plotOf(panel);
      if (plot.layout && visible(plot)) Plotly.relayout(plot, frontMarks(data, totals, costOf(panel), state, palette));
    }
  };
  return { mark, drawAll };
};

const buildLayers = (data, totals, choose) => {
  const section = document.getElementById("layers");
  section.hidden = false;
  const [plot, title, table] = [section.querySelector(".plot"), section.querySelector(".chosen"), section.querySelector(".table")];
  const buttons = [...document.querySelectorAll("button[data-winner]")];
  for (const button of buttons) {
    button.parentElement.hidden = false;
    button.addEventListener("click", () => choose(data.winners[Number(button.dataset.winner)].network));
  }
  const key = section.querySelector("input[name=key]");
  key.addEventListener("input", () => {
    const network = data.networks.keys.indexOf(key.value.trim());
    key.setAttribute("aria-invalid", String(network < 0));
    if (network >= 0) choose(network);
  });
  for (const known of data.networks.keys) section.querySelector("datalist").append(make("option", { value: known }));
  const show = (network) => {
    const winner = data.winners.findIndex((one) => one.network === network);
    for (const button of buttons) button.setAttribute("aria-pressed", String(data.winners[Number(button.dataset.winner)].network === network));
    for (const article of document.querySelectorAll("article[data-winner]")) article.hidden = article.dataset.winner !== String(winner);
    title.textContent = networkTip(data, totals, network, [...data.costs.keys()]).replaceAll("\n", " · ");
    if (document.activeElement !== key) key.value = data.networks.keys[network];
    draw(plot, layersFigure(data, network));
    table.replaceChildren(layersTable(data, network));
  };
  return { show };
};

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
