// Colours and shapes: the page's own (Okabe and Ito's palette), read from its style so that dark mode and print follow.

const SYMBOLS = ["diamond", "square", "triangle-up", "triangle-down", "cross", "hexagon"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
// what a block is, by colour and by pattern: its kernel, or what part of a transformer
const BLOCK_KINDS = {
  3: { title: "kernel 3", colour: 4, pattern: "" },
  5: { title: "kernel 5", colour: 0, pattern: "/" },
  7: { title: "kernel 7", colour: 3, pattern: "x" },
  attention: { title: "attention", colour: 2, pattern: "|" },
  mlp: { title: "MLP", colour: 1, pattern: "-" },
  other: { title: "other", colour: null, pattern: "." },
};

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    page: read("page"), panel: read("panel"), ink: read("ink"), soft: read("soft"), line: read("line"),
    dot: read("dot"), band: read("band"), front: read("front"), bad: read("bad"),
    series: [0, 1, 2, 3, 4, 5].map((index) => read(`c${index}`)),
  };
};

const series = (palette, index) => palette.series[index % palette.series.length];

// `#rrggbb` with an opacity in 0..1.
const faint = (colour, opacity) => {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
};

const axis = (palette, title, more = {}) => ({
  title: { text: plain(title), standoff: 8, font: { size: 13 } },
  color: palette.soft, gridcolor: palette.line, linecolor: palette.soft, zeroline: false,
  nticks: 6, ...more,
});

// An axis of shares: values are plotted in per cent, so that ticks have the digits they need.
const format = (axisFacts) => (axisFacts.format === "percent" ? { factor: 100, ticksuffix: " %" } : { factor: 1, ticksuffix: "" });

const frame = (palette, more = {}) => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
  font: { family: "system-ui, sans-serif", size: 13, color: palette.soft },
  margin: { l: 70, r: 14, t: 10, b: 46 }, hovermode: "closest", dragmode: false, showlegend: false,
  hoverlabel: { bgcolor: palette.ink, bordercolor: palette.ink, font: { color: palette.page, size: 13 }, align: "left" },
  legend: { orientation: "h", x: 0, y: -0.2, yanchor: "top", font: { size: 13 } },
  ...more,
});
