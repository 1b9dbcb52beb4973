// SPDX-License-Identifier: MIT
// What SQL writes is on the screen of everybody, without a reload and soon.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as h from "./help.mjs";

beforeEach(h.clear);

const ROUNDS = 20;
const LIMIT_MS = 500;

// A promise in the tab of the time at which `condition` (a function there, given `argument`) becomes true.
const watch = (tab, condition, argument) =>
  tab.evaluate(([source, given]) => {
    // The text of a function may not be run under the page's policy, so it is one of these.
    const conditions = {
      row: (name) => [...document.querySelectorAll("#rows .key")].some((key) => key.textContent === name),
      noRow: (name) => ![...document.querySelectorAll("#rows .key")].some((key) => key.textContent === name),
      content: (text) => document.getElementById("content").textContent === text,
      gone: () => document.getElementById("notice-text").textContent === "It was deleted.",
    };
    window.seen = new Promise((resolve) => {
      const look = () => {
        if (!conditions[source](given)) return false;
        resolve(performance.timeOrigin + performance.now());
        return true;
      };
      if (look()) return;
      const observer = new MutationObserver(() => look() && observer.disconnect());
      observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
    });
  }, [condition, argument]);

const seen = (tab) => Promise.race([tab.evaluate(() => window.seen), new Promise((_, reject) => {
  setTimeout(() => reject(new Error("not seen within 10 s")), 10_000).unref();
})]);

function figures(name, times) {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(0);
  console.log(`# ${name}: median ${at(0.5)} ms, most ${at(1)} ms after the commit, ${times.length} times in two tabs`);
  assert.ok(sorted.at(-1) <= LIMIT_MS * h.slack, `${name}: ${at(1)} ms`);
}

test("INSERT, UPDATE and DELETE in mariadb show up in two open tabs", async () => {
  const tabs = [await h.open(), await h.open()];
  const clients = [1, 2, 3].map((partition) => new h.Client(partition));
  const times = { INSERT: [], UPDATE: [], DELETE: [] };
  try {
    const loads = [0, 0];
    for (const [i, tab] of tabs.entries()) {
      await h.live(tab);
      tab.on("load", () => loads[i]++);
    }
    for (let round = 0; round < ROUNDS; round++) {
      const key = `typed in ${round}`;
      const client = clients[(await h.home(key)) - 1];
      const step = async (kind, condition, argument, sql) => {
        for (const tab of tabs) await watch(tab, condition, argument);
        await client.run(sql);
        const committed = performance.timeOrigin + performance.now();
        for (const tab of tabs) times[kind].push(Math.max(0, (await seen(tab)) - committed));
      };
      await step("INSERT", "row", key, `INSERT INTO pairs (k, v, type) VALUES ('${key}', 'one', 'text/plain')`);
      for (const tab of tabs) await h.row(tab, key).click();
      for (const tab of tabs) await h.until(() => h.text(tab, "#content"), "one");
      await step("UPDATE", "content", "two", `UPDATE pairs SET v = 'two' WHERE k = '${key}'`);
      await step("DELETE", round % 2 ? "noRow" : "gone", key, `DELETE FROM pairs WHERE k = '${key}'`);
      for (const tab of tabs) await tab.click("#close");
    }
    for (const [kind, all] of Object.entries(times)) figures(kind, all);
    assert.deepEqual(loads, [0, 0]);
    for (const tab of tabs) assert.deepEqual(tab.problems(), []);
  } finally {
    for (const client of clients) client.end();
    for (const tab of tabs) await tab.close_();
  }
});

test("only what lies below the prefix is asked for", () => h.withTab("#keys&prefix=in", async (tab) => {
  await h.live(tab);
  await h.put("out", "v");
  await h.put("in", "v");
  await h.until(() => h.rows(tab), ["in"]);
}));

test("what happens between the list and the feed is not missed", async () => {
  // Writes go on while tabs are opened; each tab must end with the same list.
  let on = true;
  const writer = (async () => {
    for (let i = 0; on; i++) {
      await h.put(`k${i % 50}`, String(i));
      if (i % 3 === 0) await h.remove(`k${(i * 7) % 50}`);
    }
  })();
  const tabs = [];
  try {
    for (let i = 0; i < 5; i++) tabs.push(await h.open("", { viewport: { width: 800, height: 2000 } }));
  } finally {
    on = false;
    await writer;
  }
  const expected = JSON.parse((await h.request("GET", "/keys")).text).keys.map((row) => row.key);
  for (const tab of tabs) {
    await h.until(() => h.rows(tab), expected);
    assert.deepEqual(tab.problems(), []);
    await tab.close_();
  }
});

test("a page beyond the first takes part in changes too", async () => {
  const names = Array.from({ length: 1000 }, (_, i) => `k${String(i).padStart(4, "0")}`);
  await h.putMany(names);
  await h.withTab("", async (tab) => {
    await h.live(tab);
    await h.put("k0999a", "v"); // beyond what is listed: it comes with its page
    await h.remove("k0998");
    await tab.focus("#rows");
    await h.until(async () => {
      await tab.keyboard.press("End");
      return (await h.rows(tab)).slice(-3);
    }, ["k0997", "k0999", "k0999a"]);
    assert.equal(await h.text(tab, "#count"), "1,000 rows");
  });
});

test("thousands of changes at once are drawn, and the page stays usable", async () => {
  await h.withTab("", async (tab) => {
    await h.live(tab);
    const names = Array.from({ length: 5000 }, (_, i) => `m${String(i).padStart(4, "0")}`);
    await h.putMany(names);
    await h.until(() => h.text(tab, "#count"), "5,000 rows");
    await h.clear();
    await h.until(() => h.text(tab, "#count"), "There are no keys yet.");
  });
});

test("a connection that broke is made again, and nothing is missing", () => h.withTab("", async (tab) => {
  await h.live(tab);
  await h.put("before", "v");
  await h.until(() => h.rows(tab), ["before"]);
  await tab.context().setOffline(true);
  await h.put("meanwhile", "v");
  await h.remove("before");
  await tab.context().setOffline(false);
  await h.put("after", "v");
  await h.until(() => h.rows(tab), ["after", "meanwhile"]);
}));

test("a feed that has lost its place begins anew with a fresh list", async () => {
  await h.put("a", "v");
  const asked = [];
  // The first stream ends after its beginning; then the log has been trimmed.
  const before = (tab) => tab.route("**/changes?*", async (route) => {
    asked.push(route.request().headers().accept);
    if (asked.length === 1) await route.fulfill({ contentType: "application/x-ndjson", body: '{"event":"progress","token":"1.1"}\n' });
    else if (asked.length === 2) await route.fulfill({ status: 410, body: "" });
    else await route.continue();
  });
  await h.withTab("", async (tab) => {
    await h.until(() => h.rows(tab), ["a"]);
    await h.put("b", "v");
    await h.until(() => h.rows(tab), ["a", "b"]);
    await h.live(tab);
    assert.deepEqual(asked, Array(3).fill("application/x-ndjson"));
  }, { before });
});

test("a tab that nobody looks at gives its connection back, and catches up when it is seen", () => h.withTab("", async (tab) => {
  const asked = [];
  let ended = 0;
  tab.on("request", (sent) => sent.url().includes("/changes") && asked.push(new URL(sent.url()).searchParams.get("since")));
  for (const event of ["requestfinished", "requestfailed"]) tab.on(event, (sent) => (ended += sent.url().includes("/changes")));
  await tab.reload();
  await h.live(tab);
  const look = (hidden) => tab.evaluate((value) => {
    Object.defineProperty(document, "hidden", { value, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  ended = 0;
  await look(true);
  await tab.clock.fastForward(29_000);
  await h.put("while it waits", "v");
  await h.until(() => h.rows(tab), ["while it waits"]);
  assert.equal(ended, 0);
  await tab.clock.fastForward(2000);
  await h.until(() => ended, 1);
  await h.put("while it is away", "v");
  await look(false);
  await h.until(() => h.rows(tab), ["while it is away", "while it waits"]);
  assert.match(asked.at(-1), /^\d/); // from where it was
}, { before: (tab) => tab.clock.install() }));

test("a connection that says nothing any more is made anew", () => h.withTab("", async (tab) => {
  await h.live(tab);
  const again = tab.waitForRequest((sent) => sent.url().includes("/changes") && !sent.url().includes("since=now"));
  await tab.clock.fastForward(41_000);
  await again;
  await h.put("k", "v");
  await h.until(() => h.rows(tab), ["k"]);
}, { before: (tab) => tab.clock.install() }));
