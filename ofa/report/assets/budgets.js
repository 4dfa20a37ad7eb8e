// Sliders: one for every cost. Moving one picks the winner again, at once, among the networks that the page knows.

const STEPS = 400; // positions of a slider; the last one is "no limit"

// Between a slider's position and a limit: even steps, or even ratios where networks differ much.
const scaleOf = (values) => {
  const [least, most] = extent([...values].filter(Number.isFinite));
  const low = 0.8 * least;
  const ratio = most > 8 * low && low > 0;
  return {
    limit: (place) => (ratio ? low * (most / low) ** (place / (STEPS - 1)) : low + ((most - low) * place) / (STEPS - 1)),
    place: (limit) => {
      if (limit === null || limit > most) return STEPS;
      const part = ratio ? Math.log(limit / low) / Math.log(most / low) : (limit - low) / (most - low || 1);
      return Math.round((STEPS - 1) * Math.min(Math.max(part, 0), 1));
    },
  };
};

// Build the sliders in `section`; `changed(limits, basis)` is called at every move, and returns what to say.
const buildBudgets = (section, data, totals, changed) => {
  const bases = basesOf(data.networks);
  const limits = data.costs.map(() => null);
  const said = make("div", { class: "picked", role: "status", "aria-live": "polite", id: "picked" });
  const basis = make("select", { id: "basis", on: { change: () => tell() } },
    ...bases.map((name) => make("option", { value: name }, BASES[name].title)));
  const tell = () => said.replaceChildren(...changed([...limits], basis.value));
  const controls = data.costs.map((cost, index) => {
    const scale = scaleOf(totals[index]);
    const unit = unitFor(cost.unit, extent([...totals[index]])[1]);
    const show = () => {
      const limit = limits[index];
      slider.value = String(scale.place(limit));
      slider.setAttribute("aria-valuetext", limit === null ? "no limit" : `at most ${quantity(limit, cost.unit)}`);
      if (document.activeElement !== typed) typed.value = limit === null ? "" : digits(limit / unit.factor);
    };
    const set = (limit) => { limits[index] = limit; show(); };
    const slider = make("input", {
      type: "range", min: "0", max: String(STEPS), step: "1", id: `limit-${index}`, "data-cost": cost.name,
      on: { input: () => {
        const place = Number(slider.value);
        // what is shown is what counts: four digits
        set(place === STEPS ? null : Number(digits(scale.limit(place) / unit.factor)) * unit.factor);
        tell();
      } },
    });
    const typed = make("input", {
      type: "number", min: "0", step: "any", inputmode: "decimal", placeholder: "no limit", "data-cost": cost.name,
      "aria-label": `${costTitle(cost)} at most, ${unit.name || "number"}`,
      on: {
        input: () => {
          const value = typed.value === "" ? null : Number(typed.value);
          if (value === null || value > 0) { set(value === null ? null : value * unit.factor); tell(); }
        },
        blur: () => show(),
      },
    });
    const label = make("label", { for: `limit-${index}` }, `${costTitle(cost)} at most`);
    return { element: make("div", { class: "slider" }, label, slider, make("span", { class: "typed" }, typed, ` ${unit.name}`)), set, show };
  });
  const start = (wanted) => () => {
    data.costs.forEach((cost, index) => controls[index].set(wanted[cost.name] ?? null));
    tell();
  };
  const buttons = [
    ...data.winners.map((winner) => make("button", { type: "button", on: { click: start(winner.limits) } }, `as budget ${winner.name}`)),
    make("button", { type: "button", on: { click: start({}) } }, "no limits"),
  ];
  section.append(
    make("div", { class: "chooser", role: "group", "aria-label": "Start from" }, ...buttons),
    make("div", { class: "sliders" }, ...controls.map((control) => control.element)),
    make("p", { class: "basis" }, make("label", { for: "basis" }, "Ranked by "), basis),
    said,
  );
  start(data.winners[0]?.limits ?? {})();
};

// What is said of a pick, as elements.
const pickedWords = (data, totals, network, limits) => {
  const { networks } = data;
  const measured = accuracyOf(networks.measured, network);
  const predicted = accuracyOf(networks.predicted, network);
  const facts = [
    ["measured", measured ? `${accuracyText(measured)} on the selection split` : "not yet: this network is a prediction"],
    ["predicted", predicted ? accuracyText(predicted) : "no predictor"],
    ...data.costs.map((cost, index) => [costTitle(cost), costText(cost, totals[index][network])]),
    ["architecture", networks.words[network]],
  ];
  const official = data.winners.filter((winner) => winner.network === network).map((winner) => winner.name);
  return [
    make("p", {}, make("b", {}, "Picked: "), make("code", { class: "key" }, networks.keys[network]),
      ` (${measured ? "evaluated" : "predicted only"})`, official.length ? `, the search's winner of ${official.join(" and ")}` : null),
    make("table", { class: "facts" }, make("tbody", {}, ...facts.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "text" }, value))))),
    ...commandWords(data, limits),
  ];
};

const commandWords = (data, limits) => {
  const command = searchCommand(data, limits);
  if (command === null) return [];
  const code = make("code", { class: "command" }, command);
  const copy = make("button", { type: "button", class: "copy", on: { click: () => copyText(code, copy) } }, "copy");
  return [make("p", { class: "note" }, "To measure candidates and name a winner within these limits:"), make("pre", {}, code, copy)];
};

// A page opened from disk may not be allowed to write to the clipboard: then the command is at least marked.
const copyText = async (code, button) => {
  const range = document.createRange();
  range.selectNodeContents(code);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "copied";
  } catch {
    button.textContent = "marked: press Ctrl+C";
  }
};

// Why there is no pick, and what would have to give.
const refusedWords = (data, totals, scores, limits) => {
  const found = blame(totals, scores, limits);
  const impossible = data.costs.some((cost, index) => !keeps(cost.space[0], limits[index]));
  const reasons = found.costs.map(({ cost, least }) => {
    const facts = data.costs[cost];
    const asked = `${costTitle(facts)} at most ${quantity(limits[cost], facts.unit)}`;
    if (found.together) return `${asked}: with the other limits, the least is ${quantity(least, facts.unit)}.`;
    const whole = keeps(facts.space[0], limits[cost])
      ? "Others of the space may: the search looks at all of them."
      : `No network of the space does: the smallest takes ${quantity(facts.space[0], facts.unit)}.`;
    return `${asked}: the least that these networks take is ${quantity(least, facts.unit)}. ${whole}`;
  });
  const what = found.together ? "No network here keeps all these limits together. Lifting one of them would do:" : "No network here keeps:";
  const none = found.costs.length ? what : "No network here keeps these limits.";
  return [
    make("p", { class: "breaks" }, none),
    make("ul", {}, ...reasons.map((reason) => make("li", {}, reason))),
    ...(impossible ? [] : commandWords(data, limits)),
  ];
};
