// Charts of curves over the last five minutes, in SVG; arrow keys or the pointer read a moment.

import { WINDOW } from "./history.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [600, 100];

/** A chart called *title*, its numbers shown by *text*, in *parent*. */
export class Chart {
  #title;
  #text;
  #parts;
  #curves = [];
  #from = 0;
  #read = null;

  constructor(parent, title, text) {
    this.#title = title;
    this.#text = text;
    this.#parts = build(parent, title);
    const { plot } = this.#parts;
    plot.addEventListener("keydown", (event) => this.#key(event));
    plot.addEventListener("pointermove", (event) => this.#point(event));
    plot.addEventListener("pointerleave", () => this.#show(null));
    plot.addEventListener("blur", () => this.#show(null));
  }

  /** Draw *curves*, [{name, points: [{time, value}]}]; *now* (s) is at the right edge. */
  draw(curves, now) {
    this.#curves = curves;
    this.#from = now - WINDOW;
    const values = curves.flatMap(({ points }) => points.map(({ value }) => value ?? 0));
    const most = roundUp(Math.max(...values, 0));
    this.#parts.most.textContent = this.#text(most);
    keep(this.#parts.curves, curves.length, () => shape("path"));
    curves.forEach(({ name, points }, index) => {
      const line = this.#parts.curves.children[index];
      line.setAttribute("class", `curve ${name}`);
      line.setAttribute("d", outline(points, this.#from, most));
    });
    this.#show(this.#read);
  }

  /** Show the numbers of the moment *time*, or the newest ones. */
  #show(time) {
    this.#read = time !== null && time >= this.#from ? time : null;
    const { plot, cursor, legend, total, title, times } = this.#parts;
    const chosen = this.#curves.map(({ name, points }) => [name, at(points, this.#read)]);
    const known = chosen.map(([, point]) => point?.value).filter((one) => one != null);
    total.textContent = this.#text(known.length ? known.reduce((a, b) => a + b, 0) : null);
    const moment = this.#read === null ? "now" : `${Math.round(this.#ago(this.#read))} s ago`;
    title.textContent = this.#read === null ? this.#title : `${this.#title}, ${moment}`;
    keep(legend, chosen.length, legendEntry);
    chosen.forEach(([name, point], index) => {
      const [key, words] = legend.children[index].children;
      key.firstElementChild.setAttribute("class", `curve ${name}`);
      words.textContent = `${name} ${this.#text(point?.value)}`;
    });
    cursor.setAttribute("visibility", this.#read === null ? "hidden" : "visible");
    const x = ((this.#read ?? this.#from) - this.#from) / WINDOW * WIDTH;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    times.hidden = false;
    plot.setAttribute("aria-valuenow", -Math.round(this.#read === null ? 0 : this.#ago(this.#read)));
    const words = chosen.map(([name, point]) => `${name} ${this.#text(point?.value)}`);
    plot.setAttribute("aria-valuetext", [`${moment}:`, words.join(", ") || "nothing"].join(" "));
  }

  #ago(time) {
    return this.#from + WINDOW - time;
  }

  /** Move by a sample with the arrow keys, to either end with Home and End. */
  #key(event) {
    const times = (this.#curves[0]?.points ?? []).map(({ time }) => time);
    const here = this.#read === null ? times.length - 1 : times.indexOf(this.#read);
    const next = {
      ArrowLeft: here - 1, ArrowDown: here - 1, ArrowRight: here + 1, ArrowUp: here + 1,
      PageDown: here - 15, PageUp: here + 15, Home: 0, End: times.length, Escape: times.length,
    }[event.key];
    if (next === undefined || !times.length) return;
    event.preventDefault();
    this.#show(next >= times.length - 1 ? null : times[Math.max(next, 0)]);
  }

  #point(event) {
    const box = this.#parts.plot.getBoundingClientRect();
    const wanted = this.#from + (event.clientX - box.left) / box.width * WINDOW;
    const points = this.#curves[0]?.points ?? [];
    const far = (point) => Math.abs(point.time - wanted);
    const near = points.reduce((a, b) => (far(b) < far(a) ? b : a), points[0]);
    this.#show(near ? near.time : null);
  }
}

/** Make the elements of a chart in *parent*. */
function build(parent, title) {
  const figure = element("figure", parent);
  const caption = element("figcaption", figure);
  const name = element("span", caption);
  const total = element("span", caption, "total");
  const plot = element("div", figure, "plot");
  const reads = { tabindex: 0, role: "slider", "aria-label": title, "aria-valuemin": -WINDOW,
    "aria-valuemax": 0, "aria-valuenow": 0 };
  for (const [key, value] of Object.entries(reads)) plot.setAttribute(key, value);
  const most = element("span", plot, "most");
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none",
    "aria-hidden": "true" });
  for (const part of [0.005, 0.25, 0.5, 0.75]) {
    const y = HEIGHT * part;
    svg.append(shape("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: "grid" }));
  }
  const curves = shape("g");
  const cursor = shape("line", { y1: 0, y2: HEIGHT, class: "cursor", visibility: "hidden" });
  svg.append(curves, cursor);
  plot.append(svg);
  const times = element("div", figure, "times");
  for (const text of ["5 min ago", "now"]) element("span", times).textContent = text;
  return { title: name, total, plot, most, curves, cursor, times,
    legend: element("ul", figure, "legend") };
}

/** Return the path of *points* between *from* and now, with gaps where there is no value. */
export function outline(points, from, most) {
  let pen = "M";
  return points.map(({ time, value }) => {
    if (value === null) {
      pen = "M";
      return "";
    }
    const x = ((time - from) / WINDOW) * WIDTH;
    const y = HEIGHT - 1 - (value / most) * (HEIGHT - 2);
    const step = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
    return step;
  }).join("");
}

/** Return the point at *time*, or the last one. */
function at(points, time) {
  return time === null ? points.at(-1) : points.find((point) => point.time === time);
}

/** Return the next of 1, 2, 5, 10, 20, … that is not below *value*. */
function roundUp(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((one) => one * power >= value) * power;
}

function legendEntry() {
  const entry = document.createElement("li");
  const key = shape("svg", { viewBox: "0 0 30 8", "aria-hidden": "true" });
  key.append(shape("line", { x1: 1, x2: 29, y1: 4, y2: 4 }));
  entry.append(key, document.createElement("span"));
  return entry;
}

/** Have *count* children in *parent*; *make* makes one more. */
function keep(parent, count, make) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(make());
}

function element(name, parent, style = "") {
  const made = document.createElement(name);
  if (style) made.className = style;
  parent.append(made);
  return made;
}

function shape(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
