// SPDX-License-Identifier: MIT
// The view of the partitions.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import * as h from "./help.mjs";

beforeEach(h.clear);

const tools = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "..", "tools", "nodes");
const nodes = (...given) => execFileSync(tools, [...given, "--count", String(h.sockets.length), "--dir", process.env.SHERD_PAGE_NODES], { stdio: "ignore" });

// The table: a list of { title: text } for each partition.
const table = (tab) => tab.$$eval("#table > [role=row]:not(.head)", (all) =>
  all.map((row) => Object.fromEntries(Array.from(row.querySelectorAll("[role=cell]"), (cell) => [cell.dataset.title, cell.firstChild.textContent]))));

const legend = (tab, title) => tab.$$eval(".chart", (charts, wanted) =>
  Array.from(charts.find((chart) => chart.querySelector("h3")?.textContent === wanted).querySelectorAll("b"), (b) => b.textContent), title);

test("partitions are told with state, share, queue, lag and diverts", () => h.withTab("#partitions", async (tab) => {
  await h.until(async () => (await table(tab)).length, 3);
  const rows = await table(tab);
  for (const [i, row] of rows.entries()) {
    assert.equal(row.Partition, `${i + 1} · test_sherd`);
    assert.equal(row.State, "up");
    assert.match(row.Owns, /^3\d\.\d %$/);
    assert.equal(row.Diverts, "none");
    assert.equal(row.Lag, "no sync yet");
    assert.match(row.Connections, /^[1-9]/);
  }
  assert.match(await h.text(tab, "#store"), /^3 of 3 partitions up · a key has 3 owners · .* test mode$/);
  assert.equal(await tab.isVisible("#keys-view"), false);
  const lag = new h.Client(1);
  await lag.run("INSERT INTO cursors VALUES (2, 0, 0, '', (UNIX_TIMESTAMP(NOW(6)) - 100) * 1000, 0)");
  await h.until(async () => /^2 min$/.test((await table(tab))[0].Lag), true);
  await lag.run("DELETE FROM cursors");
  await h.until(async () => (await table(tab))[0].Lag, "no sync yet");
  lag.end();
}));

test("charts move with what is asked and written", () => h.withTab("#partitions", async (tab) => {
  await tab.waitForSelector(".chart");
  let on = true;
  const load = (async () => {
    for (let i = 0; on; i++) await Promise.all(Array.from({ length: 8 }, (_, n) => (n % 2 ? h.put(`k${n}`, "v") : h.get(`k${n + 1}`))));
  })();
  const moved = async (title) => (await legend(tab, title)).map((text) => parseFloat(text.replace(/[^0-9.]/g, "")) > 0);
  try {
    for (const title of ["Requests a second", "Time of a request", "Operations a statement"]) await h.until(() => moved(title), [true, true]);
    await h.until(async () => (await table(tab)).some((row) => parseFloat(row["Operations/s"]) > 0), true);
  } finally {
    on = false;
    await load;
  }
  assert.deepEqual(await legend(tab, "Diverts a second"), ["0", "0"]);
  const label = await tab.getAttribute(".chart svg", "aria-label");
  assert.match(label, /^Requests a second: reads [\d.,k]+, writes [\d.,k]+$/);
  assert.ok((await tab.$$eval(".chart .line", (lines) => lines.map((line) => line.getAttribute("d").length))).some((length) => length > 10));
}));

test("it asks once a second while it is looked at, and not otherwise", () => h.withTab("", async (tab) => {
  let asked = 0;
  tab.on("request", (sent) => (asked += sent.url().endsWith("/metrics")));
  await h.live(tab);
  await h.until(() => h.text(tab, "#count").then(Boolean), true);
  assert.equal(asked, 0);
  await tab.click("#to-partitions");
  await h.until(() => asked >= 3, true);
  await tab.click("#to-keys");
  await tab.waitForSelector("#keys-view:not([hidden])");
  const then = asked;
  // Three answers of the feed later it would have asked again: it speaks when something happens.
  for (const key of ["a", "b", "c"]) {
    await h.put(key, "v");
    await h.row(tab, key).waitFor();
  }
  assert.ok(asked <= then + 1, `${asked - then} more`);
}));

test("a partition that dies is told with what is wrong, its diverts with their home", async () => {
  let key = 0;
  while ((await h.home(`d${key}`)) !== 2) key++;
  await h.put(`d${key}`, "v");
  await h.withTab("#partitions", async (tab) => {
    await h.until(async () => (await table(tab)).map((row) => row.State), ["up", "up", "up"]);
    nodes("kill", "--node", "2");
    try {
      await h.until(async () => (await table(tab)).map((row) => row.State), ["up", "down", "up"]);
      await h.until(() => h.text(tab, ".problem:not(:empty)").then(Boolean), true);
      assert.match(await h.text(tab, "#store"), /^2 of 3 partitions up/);
      await h.put(`d${key}`, "diverted");
      await h.until(async () => (await table(tab)).map((row) => row.Diverts).filter((text) => text === "for 2").length, 1);
    } finally {
      nodes("start");
    }
    await h.until(async () => (await table(tab))[1].State, "up");
    for (const partition of [1, 3]) {
      const client = new h.Client(partition);
      await client.run("DELETE FROM diverts");
      client.end();
    }
    await h.until(async () => (await table(tab)).map((row) => row.Diverts), ["none", "none", "none"]);
  });
});
