// SPDX-License-Identifier: MIT
// A list of any length on the screen: only the rows in sight are elements, and those are used again.
import { time } from "./keys.js";
import { fillKey, make, shortTime } from "./show.js";

const OVERSCAN = 10; // rows above and below what is in sight
const AHEAD = 100; // so many rows before the end, more are asked for
const FRESH_MS = 1500; // a row that changed is marked for so long

export class List {
  // on.open(row), on.up(), on.remove(row), on.more(): what the user wants.
  constructor(element, on) {
    this.element = element;
    this.spacer = element.firstElementChild;
    this.on = on;
    this.rows = null;
    this.active = null; // its name: rows come and go around it
    this.opened = null;
    this.shown = new Map(); // name → element
    this.spare = [];
    this.count = 0;
    element.addEventListener("scroll", () => this.draw());
    element.addEventListener("keydown", (event) => this.onKey(event));
    element.addEventListener("click", (event) => this.onClick(event));
    element.addEventListener("focus", () => this.draw());
    new ResizeObserver(() => this.resize()).observe(element);
  }

  // Shows other rows, from the top; `active` is the name of the row to stand on.
  show(rows, active = null) {
    this.rows = rows;
    this.active = active;
    this.element.scrollTop = 0;
    this.anchor = null;
    this.update();
    if (active !== null) this.moveTo(rows.position(active));
  }

  // The rows have changed. Those in sight stay where they are, unless the top is in sight.
  update() {
    const { anchor } = this;
    this.spacer.style.height = `${this.rows.all.length * this.height}px`;
    if (anchor && this.element.scrollTop > 0)
      this.element.scrollTop = this.rows.position(anchor.name) * this.height + anchor.offset;
    this.draw();
  }

  resize() {
    this.height = parseInt(getComputedStyle(this.element).getPropertyValue("--row"), 10);
    if (this.rows) this.update();
  }

  draw() {
    if (!this.rows || !this.height) return;
    const { all } = this.rows;
    const { scrollTop, clientHeight } = this.element;
    const top = Math.floor(scrollTop / this.height);
    const from = Math.max(0, top - OVERSCAN);
    const to = Math.min(all.length, Math.ceil((scrollTop + clientHeight) / this.height) + OVERSCAN);
    const wanted = new Set();
    for (let i = from; i < to; i++) wanted.add(all[i].name);
    for (const [name, element] of this.shown) {
      if (wanted.has(name)) continue;
      this.shown.delete(name);
      this.spare.push(element);
    }
    let before = null;
    for (let i = from; i < to; i++) {
      const element = this.elementOf(all[i]);
      const place = before ? before.nextSibling : this.spacer.firstChild;
      if (place !== element) this.spacer.insertBefore(element, place);
      this.fill(element, all[i], i);
      before = element;
    }
    for (const element of this.spare) element.remove();
    const active = this.active === null ? null : this.shown.get(this.active);
    if (active) this.element.setAttribute("aria-activedescendant", active.id);
    else this.element.removeAttribute("aria-activedescendant");
    this.anchor = all[top] ? { name: all[top].name, offset: scrollTop - top * this.height } : null;
    if (to + AHEAD > all.length && this.rows.reach !== null) this.on.more();
  }

  elementOf(row) {
    let element = this.shown.get(row.name);
    if (!element) {
      element = this.spare.pop() ?? this.makeElement();
      this.shown.set(row.name, element);
    }
    return element;
  }

  makeElement() {
    return make("div", { role: "option", id: `row-${this.count++}` }, make("span", { class: "key" }),
      make("span", { class: "type" }), make("span", { class: "time" }));
  }

  fill(element, row, i) {
    const stamp = row.folder ? "folder" : row.version;
    if (element.row !== row || element.stamp !== stamp) {
      const [key, type, when] = element.children;
      fillKey(key, row.name.slice(row.folder ? this.rows.prefix.length : 0));
      type.textContent = row.folder ? "folder" : row.type.split(";")[0];
      when.textContent = row.folder ? "" : shortTime(time(row.version));
      element.classList.toggle("folder", Boolean(row.folder));
      element.row = row;
      element.stamp = stamp;
      const fresh = row.touched && Date.now() - row.touched < FRESH_MS;
      element.classList.remove("fresh");
      if (fresh) requestAnimationFrame(() => element.classList.add("fresh"));
    }
    element.style.transform = `translateY(${i * this.height}px)`;
    element.setAttribute("aria-posinset", i + 1);
    element.setAttribute("aria-setsize", this.rows.reach === null ? this.rows.all.length : -1);
    element.setAttribute("aria-selected", String(row.name === this.opened));
    element.classList.toggle("active", row.name === this.active);
  }

  // The row that is open beside the list.
  mark(name) {
    this.opened = name;
    if (name !== null) this.active = name;
    this.draw();
  }

  activeRow() {
    return this.active === null ? null : this.rows?.find(this.active);
  }

  moveTo(i) {
    const { all } = this.rows;
    if (!all.length) return;
    const at = Math.max(0, Math.min(all.length - 1, i));
    const { clientHeight } = this.element;
    this.active = all[at].name;
    const top = at * this.height;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + this.height > this.element.scrollTop + clientHeight)
      this.element.scrollTop = top + this.height - clientHeight;
    this.draw();
  }

  onClick(event) {
    const row = event.target.closest("[role=option]")?.row;
    if (!row) return;
    this.active = row.name;
    this.draw();
    this.on.open(row);
  }

  onKey(event) {
    if (!this.rows || event.ctrlKey || event.altKey || event.metaKey) return;
    const row = this.activeRow();
    const at = this.active === null ? -1 : this.rows.position(this.active);
    const below = row || at < 0 ? at + 1 : at; // the active row may be gone
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 1);
    const action = {
      ArrowDown: () => this.moveTo(below),
      ArrowUp: () => this.moveTo(at - 1),
      PageDown: () => this.moveTo(at + page),
      PageUp: () => this.moveTo(at - page),
      Home: () => this.moveTo(0),
      End: () => this.moveTo(this.rows.all.length - 1),
      Enter: () => row && this.on.open(row),
      " ": () => row && this.on.open(row),
      ArrowRight: () => row?.folder && this.on.open(row),
      ArrowLeft: () => this.on.up(),
      Backspace: () => this.on.up(),
      Delete: () => row && !row.folder && this.on.remove(row),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
