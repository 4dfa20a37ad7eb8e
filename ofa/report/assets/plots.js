// Charts on the page: each is an element and a function that builds its figure, so that any can be drawn again in other
// colours (dark mode) or at another width (print).

const PRINT_WIDTH = 660; // CSS pixels: A4 with its margins
const builders = new Map();
const clicks = new Map();
const waiting = new Set();
let printing = false;

const visible = (element) => element.getClientRects().length > 0;

// A point that is clicked on: `act` gets its customdata. May be said before the chart is drawn.
const onClick = (element, act) => {
  clicks.set(element, act);
  if (element.on) listen(element);
};
const listen = (element) => {
  element.removeAllListeners?.("plotly_click");
  element.on("plotly_click", (event) => clicks.get(element)(event.points[0].customdata));
};

// Draw what `build(palette)` says: `{traces, layout, width?}`; now if the element is shown, or when it is.
const draw = (element, build) => {
  builders.set(element, build);
  if (!visible(element)) {
    waiting.add(element);
    return;
  }
  waiting.delete(element);
  const { traces, layout, width } = build(colours());
  // a chart wider than its place scrolls there; on paper everything must fit
  const fixed = printing ? PRINT_WIDTH : Math.max(width ?? 0, element.parentElement.clientWidth);
  Plotly.react(element, traces, { ...layout, width: fixed }, { displayModeBar: false, responsive: false, doubleClick: "reset" });
  if (clicks.has(element)) listen(element);
  element.closest("figure")?.querySelector(".instead")?.remove();
};

const redraw = (elements) => { for (const element of elements) draw(element, builders.get(element)); };
const drawWaiting = () => redraw([...waiting].filter(visible));

const forPrint = (state) => () => {
  printing = state;
  document.documentElement.classList.toggle("printing", state);
  redraw([...builders.keys()]);
};

const followThePage = () => {
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw([...builders.keys()]));
  window.addEventListener("beforeprint", forPrint(true));
  window.addEventListener("afterprint", forPrint(false));
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (printing || window.innerWidth === width) return;
    width = window.innerWidth;
    requestAnimationFrame(() => redraw([...builders.keys()]));
  });
};

// An element with attributes and children; texts stay texts.
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};
