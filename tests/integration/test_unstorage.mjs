// SPDX-License-Identifier: MIT
// unstorage's http driver against a running server: node test_unstorage.mjs http://127.0.0.1:PORT
// The driver turns the colons of a key into slashes; so the key `user:1` is /keys/user/1.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createStorage, prefixStorage } from "unstorage";
import httpDriver from "unstorage/drivers/http";

const server = process.argv[2];
const storage = createStorage({ driver: httpDriver({ base: server + "/keys" }) });
const sorted = async (keys) => (await keys).sort();

test("an item is what was set", async () => {
  for (const value of ["text", "", "välue 😀", "line\nline", 0, 42, -1.5, true, false, null, [1, "two"],
                       { a: { b: [1, 2] }, ü: "ä" }]) {
    await storage.setItem("value", value);
    assert.deepEqual(await storage.getItem("value"), value);
  }
});

test("an item is replaced", async () => {
  await storage.setItem("again", "first");
  await storage.setItem("again", { second: true });
  assert.deepEqual(await storage.getItem("again"), { second: true });
});

test("an absent item is null", async () => {
  assert.equal(await storage.getItem("absent"), null);
  assert.equal(await storage.hasItem("absent"), false);
});

test("hasItem and removeItem", async () => {
  await storage.setItem("here", "x");
  assert.equal(await storage.hasItem("here"), true);
  await storage.removeItem("here");
  assert.equal(await storage.hasItem("here"), false);
  assert.equal(await storage.getItem("here"), null);
  await storage.removeItem("here");
});

test("keys with colons and odd characters", async () => {
  const keys = ["odd:a:b:c", "odd:a b", "odd:ä", "odd:%41", "odd:a+b", "odd:a#b",
                "odd:'quote'", "odd:a&b=c", "odd:a..b"];
  for (const key of keys)
    await storage.setItem(key, key);
  for (const key of keys)
    assert.equal(await storage.getItem(key), key);
  assert.deepEqual(await sorted(storage.getKeys("odd")), [...keys].sort());
  const answer = await fetch(server + "/keys/odd/a/b/c");
  assert.equal(await answer.text(), "odd:a:b:c");
});

test("getKeys with and without a base", async () => {
  await storage.clear();
  assert.deepEqual(await storage.getKeys(), []);
  for (const key of ["users:1", "users:2", "users:2:name", "usersx", "other"])
    await storage.setItem(key, key);
  assert.deepEqual(await sorted(storage.getKeys()), ["other", "users:1", "users:2", "users:2:name", "usersx"]);
  assert.deepEqual(await sorted(storage.getKeys("users")), ["users:1", "users:2", "users:2:name"]);
  assert.deepEqual(await sorted(storage.getKeys("users:2")), ["users:2:name"]);
  assert.deepEqual(await storage.getKeys("nobody"), []);
  assert.deepEqual(await sorted(prefixStorage(storage, "users").getKeys()), ["1", "2", "2:name"]);
});

// clear(base) of unstorage reaches only drivers that are mounted below the base; so mount one there.
test("clear of a folder and of everything", async () => {
  const users = createStorage({ driver: httpDriver({ base: server + "/keys/users" }) });
  await users.setItem("1", "x");
  await storage.setItem("usersx", "x");
  await users.clear();
  assert.equal(await storage.hasItem("users:1"), false);
  assert.equal(await storage.hasItem("usersx"), true);
  await storage.clear();
  assert.deepEqual(await storage.getKeys(), []);
});

test("thousands of keys", async () => {
  const keys = Array.from({ length: 2500 }, (_, i) => `many:${i}`);
  for (let i = 0; i < keys.length; i += 50)
    await Promise.all(keys.slice(i, i + 50).map((key) => storage.setItem(key, "x")));
  assert.deepEqual(await sorted(storage.getKeys("many")), [...keys].sort());
  await storage.clear();
  assert.deepEqual(await storage.getKeys("many"), []);
});

test("raw items are bytes", async () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (const bytes of [all, new Uint8Array(100000).fill(255), new Uint8Array(0)]) {
    await storage.setItemRaw("raw", bytes);
    assert.deepEqual(new Uint8Array(await storage.getItemRaw("raw")), bytes);
  }
});

test("getMeta tells the time of change", async () => {
  const before = Date.now();
  await storage.setItem("meta", "x");
  const meta = await storage.getMeta("meta");
  assert.equal(meta.status, 200);
  assert.ok(Math.abs(meta.mtime.getTime() - before) < 5000, String(meta.mtime));
  assert.equal(meta.ttl, undefined);
});

test("setMeta is kept beside the item", async () => {
  await storage.setItem("meta2", "x");
  await storage.setMeta("meta2", { owner: "me" });
  assert.equal((await storage.getMeta("meta2")).owner, "me");
  assert.deepEqual(await storage.getKeys("meta2"), []);
});

test("an item with a ttl expires", async () => {
  await storage.setItem("short", "x", { ttl: 1 });
  await storage.setItem("long", "x", { ttl: 1000 });
  assert.ok((await storage.getMeta("long")).ttl > 990);
  assert.equal(await storage.getItem("long", { ttl: 1000 }), "x"); // the driver sends X-TTL with every method
  assert.equal(await storage.hasItem("long", { ttl: 1000 }), true);
  const deadline = Date.now() + 3000;
  while (await storage.hasItem("short"))
    assert.ok(Date.now() < deadline, "not expired");
  assert.equal(await storage.getItem("short"), null);
  await storage.removeItem("long", { ttl: 1000 });
  assert.equal(await storage.hasItem("long"), false);
});

test("many items at once", async () => {
  await storage.setItems([{ key: "batch:1", value: "1" }, { key: "batch:2", value: { two: 2 } }]);
  const items = await storage.getItems(["batch:1", "batch:2", "batch:3"]);
  assert.deepEqual(items.map(({ value }) => value), [1, { two: 2 }, null]);
});
