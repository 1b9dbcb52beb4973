// SPDX-License-Identifier: MIT
// A small chart of the last minute, one point a second, as SVG made by calls.
import { make } from "./show.js";

const POINTS = 60;
const WIDTH = 120;
const HEIGHT = 40;

function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// The least of 1, 2, 5, 10, 20 … that is not below `value`: an axis that seldom moves.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999) ?? 10 * power;
}

// `lines` are names, `format` makes a text of a value; a chart of one line without a title is a mere spark.
export class Chart {
  constructor(title, lines, format) {
    this.title = title;
    this.format = format;
    this.lines = lines.map((name, i) => ({ name, values: [], path: svg("path", { class: `line line-${i + 1}` }) }));
    this.svg = svg("svg", { viewBox: `0 -1 ${WIDTH} ${HEIGHT + 2}`, preserveAspectRatio: "none", role: "img" });
    this.svg.append(svg("path", { class: "axis", d: `M0 ${HEIGHT}H${WIDTH}` }), ...this.lines.map((line) => line.path));
    this.top = make("span", { class: "top", "aria-hidden": "true" });
    this.legend = make("figcaption", {});
    this.element = make("figure", { class: title ? "chart" : "chart spark" });
    if (title) this.element.append(make("h3", {}, title), this.top);
    this.element.append(this.svg);
    if (title) this.element.append(this.legend);
    for (const [i, line] of this.lines.entries()) {
      line.now = make("b", {});
      this.legend.append(make("span", { class: `name line-${i + 1}` }, `${line.name} `, line.now));
    }
  }

  // Takes a value for each line; null where there is none.
  push(values) {
    for (const [i, line] of this.lines.entries()) {
      line.values.push(values[i]);
      if (line.values.length > POINTS) line.values.shift();
      line.now.textContent = values[i] === null ? "–" : this.format(values[i]);
    }
    const most = Math.max(...this.lines.flatMap((line) => line.values.filter((value) => value !== null)), 0);
    const top = most > 0 ? ceiling(most) : 1;
    this.top.textContent = most > 0 ? this.format(top) : "";
    for (const line of this.lines) line.path.setAttribute("d", this.path(line.values, top));
    const told = this.lines.map((line) => `${line.name} ${line.now.textContent}`).join(", ");
    this.svg.setAttribute("aria-label", this.title ? `${this.title}: ${told}` : told);
  }

  // The newest value is at the right edge; where a value is missing the line is broken.
  path(values, top) {
    let d = "";
    let pen = "M";
    for (const [i, value] of values.entries()) {
      if (value === null) {
        pen = "M";
        continue;
      }
      const x = WIDTH - ((values.length - 1 - i) * WIDTH) / (POINTS - 1);
      d += `${pen}${x.toFixed(2)} ${(HEIGHT - (value / top) * HEIGHT).toFixed(2)}`;
      if (pen === "M") d += "h0"; // one value alone is a dot
      pen = "L";
    }
    return d;
  }
}
