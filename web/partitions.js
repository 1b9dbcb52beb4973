// SPDX-License-Identifier: MIT
// The view of the partitions: /status in a table, and what /metrics counted since a second ago in charts.
import * as api from "./api.js";
import { Chart } from "./chart.js";
import { $, make, number, span } from "./show.js";

const EVERY_MS = 1000;

// Prometheus' text as a function: sum("name", { label: value }) adds up the samples that have these labels.
export function readMetrics(text) {
  const samples = new Map();
  for (const [, name, labels = "", value] of text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)) {
    if (!samples.has(name)) samples.set(name, []);
    samples.get(name).push([Object.fromEntries(Array.from(labels.matchAll(/(\w+)="([^"]*)"/g), ([, k, v]) => [k, v])),
      value === "+Inf" ? Infinity : Number(value)]);
  }
  const find = (name, wanted = {}) =>
    (samples.get(name) ?? []).filter(([labels]) => Object.entries(wanted).every(([k, v]) => labels[k] === String(v)));
  const sum = (name, wanted) => find(name, wanted).reduce((total, [, value]) => total + value, 0);
  return { find, sum };
}

// The value below which `share` of what came between two readings of a histogram lies; null if nothing came.
export function quantile(before, after, name, share) {
  const old = before.find(`${name}_bucket`);
  const counts = after.find(`${name}_bucket`).map(([{ le }, count], i) => [le === "+Inf" ? Infinity : Number(le), count - old[i][1]]);
  const total = counts.at(-1)?.[1] ?? 0;
  if (!total) return null;
  let [from, below] = [0, 0];
  for (const [le, count] of counts) {
    if (count >= share * total) return le === Infinity ? from : from + ((le - from) * (share * total - below)) / (count - below);
    [from, below] = [le, count];
  }
  return null;
}

const requests = (metrics, methods) =>
  methods.reduce((total, method) => total + metrics.sum("sherd_http_requests_total", { method }), 0);

const rate = (value) => (value < 10 ? number(Math.round(value * 10) / 10) : number(Math.round(value)));

// Title, lines, format, and what the lines show: values of two readings, `seconds` apart.
const charts = [
  ["Requests a second", ["reads", "writes"], rate, (before, after, seconds) => [["GET", "HEAD"], ["PUT", "DELETE", "POST"]]
    .map((methods) => (requests(after, methods) - requests(before, methods)) / seconds)],
  ["Time of a request", ["median", "99 %"], span, (before, after) => [0.5, 0.99]
    .map((share) => quantile(before, after, "sherd_http_request_duration_seconds", share))],
  ["Operations a statement", ["reads", "writes"], rate, (before, after) => ["read", "write"].map((kind) => {
    const [operations, statements] = ["sum", "count"].map((what) => ["after", "before"].map((when) =>
      (when === "after" ? after : before).sum(`sherd_batch_operations_${what}`, { kind })).reduce((a, b) => a - b));
    return statements ? operations / statements : null;
  })],
  ["Diverts a second", ["taken for others", "repairs"], rate, (before, after, seconds) => ["diverts", "applied"]
    .map((what) => (after.sum(`sherd_partition_${what}_total`) - before.sum(`sherd_partition_${what}_total`)) / seconds)],
];

const share = (slots, all) => `${((100 * slots) / all).toFixed(slots === all ? 0 : 1)} %`;

// Columns of the table: title, what it means, and the text of a partition in it.
const columns = [
  ["Partition", "its number and database", (p) => `${p.id} · ${p.database}`],
  ["State", "up, down or starting; blank and restored ones are not trusted until sync has filled them",
    (p) => (p.state === "up" && !p.trusted ? "up, not trusted" : p.state)],
  ["Owns", "the share of the keys of which it is the home", (p, s) => share(p.slots, s.slots)],
  ["Operations/s", "handed to it in the last second", null],
  ["Queue", "operations that wait for it", (p) => number(p.queued)],
  ["Connections", "open, of this daemon", (p) => String(p.connections)],
  ["Lag", "how long ago sync last brought it everything that the others had", (p) => (p.lag_seconds === null ? "no sync yet" : span(p.lag_seconds))],
  ["Diverts", "partitions whose writes it holds until sync has delivered them",
    (p) => (p.holds_diverts_for.length ? `for ${p.holds_diverts_for.join(", ")}` : "none")],
  ["Clock", "how far it is ahead of the daemon's", (p) => `${p.clock_offset_us < 0 ? "−" : "+"}${span(Math.abs(p.clock_offset_us) / 1e6)}`],
];

export class Partitions {
  // onState("live" or "waiting"): whether the server answers.
  constructor(onState) {
    this.onState = onState;
    this.shown = false;
    this.charts = null;
    this.rows = new Map(); // id → { cells, spark, problem }
    $("columns").append(...columns.map(([title, meaning]) => make("span", { role: "columnheader", title: meaning }, title)));
    document.addEventListener("visibilitychange", () => this.schedule(0));
  }

  show(shown) {
    if (shown === this.shown) return;
    this.shown = shown;
    this.before = null;
    if (shown && !this.charts) this.makeCharts();
    this.schedule(0);
  }

  makeCharts() {
    this.charts = charts.map(([title, lines, format, read]) => ({ chart: new Chart(title, lines, format), read }));
    $("charts").append(...this.charts.map(({ chart }) => chart.element));
  }

  schedule(ms) {
    clearTimeout(this.timer);
    if (!this.shown || document.hidden) this.before = null; // a rate over the pause would be none
    else this.timer = setTimeout(() => this.poll(), ms);
  }

  async poll() {
    const began = performance.now();
    try {
      const [status, text] = await Promise.all([api.status(), api.metrics()]);
      this.take(status, { at: began, ...readMetrics(text) });
      this.onState("live");
    } catch (error) {
      $("store").textContent = error.message;
      this.before = null;
      this.onState("waiting");
    }
    this.schedule(Math.max(0, EVERY_MS - (performance.now() - began)));
  }

  take(status, after) {
    const { before } = this;
    this.before = after;
    const seconds = before ? (after.at - before.at) / 1000 : 0;
    const up = status.partitions.filter((p) => p.state === "up").length;
    $("store").textContent = `${up} of ${status.partitions.length} partitions up · a key has ${status.replicas} ` +
      `owner${status.replicas === 1 ? "" : "s"} · ${status.clients} client${status.clients === 1 ? "" : "s"} · ` +
      `version ${status.version}, up for ${span(status.uptime_seconds)}${status.mode === "test" ? " · test mode" : ""}`;
    for (const partition of status.partitions) {
      const total = (metrics) => metrics.sum("sherd_partition_operations_total", { partition: partition.id });
      this.fill(partition, status, before ? (total(after) - total(before)) / seconds : null);
    }
    if (before) for (const { chart, read } of this.charts) chart.push(read(before, after, seconds));
  }

  rowOf(id) {
    let row = this.rows.get(id);
    if (!row) {
      const cells = columns.map(([title]) => make("span", { role: "cell", "data-title": title }, make("span", {})));
      const spark = new Chart("", ["operations a second"], rate);
      cells[3].append(spark.element);
      const problem = make("p", { class: "problem" });
      $("table").append(make("div", { role: "row" }, ...cells), problem);
      row = { cells, spark, problem };
      this.rows.set(id, row);
    }
    return row;
  }

  fill(partition, status, operations) {
    const { cells, spark, problem } = this.rowOf(partition.id);
    for (const [i, [, , text]] of columns.entries()) {
      const shown = text ? text(partition, status) : operations === null ? "–" : rate(operations);
      const cell = cells[i].firstElementChild;
      if (cell.textContent !== shown) cell.textContent = shown;
    }
    if (operations !== null) spark.push([operations]);
    cells[1].dataset.state = partition.state === "up" && !partition.trusted ? "starting" : partition.state;
    cells[7].dataset.state = partition.holds_diverts_for.length ? "starting" : "";
    problem.textContent = partition.state === "up" ? "" : partition.problem;
  }
}
