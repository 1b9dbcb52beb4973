// SPDX-License-Identifier: MIT
// Makes the pictures of docs/page.md: screenshots.mjs DIR
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import * as h from "./help.mjs";

const directory = process.argv[2];
fs.mkdirSync(directory, { recursive: true });
const file = (name) => ({ path: path.join(directory, `${name}.png`) });

async function fill() {
  await h.clear();
  const people = ["amira", "björn", "chen", "dolores", "emeka"];
  for (const name of people) await h.put(`users/${name}`, JSON.stringify({ name, rooms: [1, 2], since: 2021 }), "application/json");
  for (let room = 1; room <= 12; room++) await h.put(`rooms/${room}/topic`, `room ${room}`);
  await h.put("greeting", "hello");
  await h.put("config/limits", '{"max_value": "1M", "timeout": "2s", "replicas": 2, "token": 18446744073709551615, "hosts": ["db-1", "db-2"]}', "application/json", { "X-TTL": "86000" });
  await h.put("notes.md", "# Notes\n\nWrite here.\n", "text/markdown; charset=utf-8");
  await h.put("page.html", "<script>alert('stored')</script>", "text/html");
  await h.put(Buffer.from([0x73, 0x65, 0x73, 0x73, 0x69, 0x6f, 0x6e, 0x2d, 0xff, 0x00, 0x9c]), zlib.deflateSync("binary"), "application/octet-stream");
  for (let i = 0; i < 40; i++) await h.put(`sensor-${String(i).padStart(2, "0")}`, String(20 + (i % 7)), "text/plain");
}

async function shot(name, hash, ready, options, work = () => {}) {
  const tab = await h.open(hash, { viewport: { width: 1000, height: 520 }, ...options });
  await h.live(tab);
  await ready(tab);
  await work(tab);
  await tab.screenshot(file(name));
  await tab.close_();
}

// Some seconds of load, so that the charts have something to show.
async function load(tab) {
  let on = true;
  const clients = Array.from({ length: 24 }, async (_, n) => {
    for (let i = 0; on; i++) {
      const key = `sensor-${String((n * 7 + i) % 40).padStart(2, "0")}`;
      if ((n + i) % 4 === 0) await h.put(key, String(i), "text/plain");
      else await h.get(key);
      if (n >= 12 && i % 200 > 100) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  await h.until(() => tab.$eval(".chart .line", (line) => line.getAttribute("d").split("L").length >= 45), true, 120_000);
  on = false;
  await Promise.all(clients);
}

await fill();
const listed = (tab) => tab.waitForSelector("#rows [role=option]");
const shown = (tab) => tab.waitForSelector("#content pre");
await shot("keys", "", listed, {}, async (tab) => {
  await tab.focus("#rows");
  for (let i = 0; i < 3; i++) await tab.keyboard.press("ArrowDown");
});
await shot("value", "#keys&key=config%2flimits&delimiter=", shown, { viewport: { width: 1000, height: 480 } });
await shot("narrow-dark", "", listed, { viewport: { width: 360, height: 640 }, colorScheme: "dark" });
await shot("narrow-edit", "#keys&key=greeting", shown, { viewport: { width: 360, height: 640 }, colorScheme: "dark" }, async (tab) => {
  await tab.click("#edit");
  await h.put("greeting", "hello, you");
  await h.until(() => tab.isVisible("#notice"), true);
});
await shot("partitions", "#partitions", (tab) => tab.waitForSelector(".chart"), { viewport: { width: 1000, height: 400 } }, load);
await h.close();
