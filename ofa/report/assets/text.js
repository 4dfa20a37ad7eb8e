// How numbers and names read. Nothing here touches the page.

// Plotly takes tags and entities in texts for markup: what users wrote must come out as they wrote it.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const lines = (text) => plain(text).replaceAll("\n", "<br>");

const digits = (value, num = 4) => String(Number(value.toPrecision(num)));
const share = (value, decimals = 2) => `${(100 * value).toFixed(decimals)} %`;

// The unit in which amounts up to `largest` read well: its name as `--max` takes it, and how many base units it is.
const unitFor = (base, largest) => {
  if (base === "B") return largest >= 2 ** 20 ? { name: "MiB", factor: 2 ** 20 } : { name: "KiB", factor: 2 ** 10 };
  if (base === "ms" || base === "mJ") return { name: base, factor: 1 };
  const steps = [["G", 1e9], ["M", 1e6], ["k", 1e3]];
  const [prefix, factor] = steps.find(([, size]) => largest >= size) ?? ["", 1];
  return { name: `${prefix}${base}`, factor };
};

// An amount in base units: `1.204 ms`, `84.4 KiB`, `12.3 MMACs`.
const quantity = (value, base) => {
  if (base === "B" && Math.abs(value) < 1024) return `${digits(value)} B`;
  const unit = unitFor(base, Math.abs(value));
  return `${digits(value / unit.factor)} ${unit.name}`.trim();
};

// What a cost is called: `latency on phone`, `MACs`.
const costTitle = (cost) => {
  const metric = { macs: "MACs", params: "parameters", peak_memory: "peak memory" }[cost.metric] ?? cost.metric;
  return cost.device === null ? metric : `${metric} on ${cost.device}`;
};

// An argument that a shell takes as it is.
const quoted = (text) => (/^[\w@%+=:,.\/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
