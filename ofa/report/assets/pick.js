// The winner within limits, among the networks that the page knows: the rule of the sliders. Nothing here touches the page.

// What networks are ranked by: basis -> its score of every network (null: not among those ranked).
const BASES = {
  predicted: { title: "predicted accuracy", of: (networks) => networks.predicted?.mean },
  cautious: { title: "lower end of the predicted interval", of: (networks) => networks.predicted?.lower },
  measured: { title: "measured accuracy, evaluated networks only", of: (networks) => networks.measured.mean },
};

// Those that this run knows, the usual one first: the predictor ranks all networks by the same measure.
const basesOf = (networks) => Object.keys(BASES).filter((basis) => BASES[basis].of(networks)?.some((score) => score !== null));

// Limits are upper bounds by cost, null where there is none; a rounding's breadth above one still keeps it.
const keeps = (total, limit) => limit === null || total <= limit * (1 + 1e-9);

// The network that keeps all limits and scores best; of equal ones the cheapest in the first cost, then the first. -1: none.
const pick = (totals, scores, limits) => {
  let best = -1;
  for (let network = 0; network < scores.length; network += 1) {
    const score = scores[network];
    if (score === null || !limits.every((limit, cost) => keeps(totals[cost][network], limit))) continue;
    const better = best < 0 || score > scores[best] || (score === scores[best] && totals[0][network] < totals[0][best]);
    if (better) best = network;
  }
  return best;
};

// Why nothing keeps the limits: those that no network keeps alone; or else those whose lifting alone would do.
const blame = (totals, scores, limits) => {
  const ranked = [...scores.keys()].filter((network) => scores[network] !== null);
  const least = (cost, among) => among.reduce((low, network) => Math.min(low, totals[cost][network]), Infinity);
  const limited = [...limits.keys()].filter((cost) => limits[cost] !== null);
  const alone = limited.map((cost) => ({ cost, least: least(cost, ranked) })).filter(({ cost, least: low }) => !keeps(low, limits[cost]));
  if (alone.length) return { together: false, costs: alone };
  const lifted = limited.map((cost) => {
    const others = ranked.filter((network) => limits.every((limit, other) => other === cost || keeps(totals[other][network], limit)));
    return { cost, least: least(cost, others) };
  });
  return { together: true, costs: lifted.filter(({ least: low }) => low < Infinity) };
};

// The command that measures candidates and names a winner within these limits; null without any.
const searchCommand = (data, limits) => {
  const options = data.costs.flatMap((cost, index) => {
    if (limits[index] === null) return [];
    const unit = unitFor(cost.unit, limits[index]);
    return [` --max ${quoted(`${cost.name}=${digits(limits[index] / unit.factor, 6)}${unit.name}`)}`];
  });
  return options.length ? `ofa search ${quoted(data.run)}${options.join("")}` : null;
};
