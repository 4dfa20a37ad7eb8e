// Networks as the data block holds them: a number for what stands in each slot. Costs follow from it.

// What every network costs, by cost: a Float64Array each.
const totalsOf = (data) =>
  data.costs.map((cost, index) => {
    const join = cost.reduce === "sum" ? (a, b) => a + b : Math.max;
    return Float64Array.from(data.networks.slots, (numbers) => {
      let total = cost.constant;
      for (let slot = 0; slot < numbers.length; slot += 1) {
        if (numbers[slot] >= 0) total = join(total, data.operators[slot][numbers[slot]].costs[index]);
      }
      return total;
    });
  });

// The layers of a network in order: where, what, and its costs. What belongs to no layer comes last, without operator.
const layersOf = (data, network) => {
  const layers = [];
  data.networks.slots[network].forEach((number, slot) => {
    if (number >= 0) layers.push({ slot: data.slots[slot], operator: data.operators[slot][number] });
  });
  const constants = data.costs.map((cost) => (cost.reduce === "sum" ? cost.constant : 0));
  if (constants.some((value) => value !== 0)) {
    layers.push({ slot: "overhead", operator: { text: "calls and correction, no layer's own", label: "", costs: constants } });
  }
  return layers;
};

// An accuracy with its interval where there is one; null where nothing is known.
const accuracyOf = (column, network) => {
  const mean = column?.mean?.[network] ?? null;
  if (mean === null) return null;
  return { mean, lower: column.lower?.[network] ?? null, upper: column.upper?.[network] ?? null };
};

const accuracyText = ({ mean, lower, upper }) =>
  lower === null || upper === null ? share(mean) : `${share(mean)} (${(100 * lower).toFixed(2)} to ${share(upper)})`;

// A predicted cost, with the interval that the table's held-out networks give it.
const costText = (cost, value) => {
  const ends = cost.interval?.map((factor) => quantity(value * factor, cost.unit));
  return ends ? `${quantity(value, cost.unit)} (${ends[0]} to ${ends[1]})` : quantity(value, cost.unit);
};
