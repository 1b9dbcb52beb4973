// SPDX-License-Identifier: MIT
// A value: how each type is shown, put, edit under If-Match, conflicts, delete.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import zlib from "node:zlib";
import * as h from "./help.mjs";

beforeEach(h.clear);

// A picture of `side` × `side` pixels, of one colour or (incompressible) of many.
function png(side, noisy = false) {
  const rows = Buffer.alloc(side * (side * 3 + 1));
  let seed = 1;
  for (let i = 0; i < rows.length; i++) rows[i] = i % (side * 3 + 1) === 0 ? 0 : noisy ? (seed = (seed * 48271) % 2147483647) & 255 : 0x77;
  const chunk = (name, data) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(side, 0);
  head.writeUInt32BE(side, 4);
  head.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", head), chunk("IDAT", zlib.deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let i = 0; i < 8; i++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return (sum ^ 0xffffffff) >>> 0;
}

const forms = (tab) => tab.$$eval("#forms button", (buttons) => buttons.map((b) => (b.getAttribute("aria-pressed") === "true" ? `[${b.textContent}]` : b.textContent)).join(" "));
const content = (tab) => h.text(tab, "#content");
const notice = (tab) => h.text(tab, "#notice-text");
const opened = (tab) => tab.waitForSelector("#shown:not([hidden])");

test("type, size, version, times and partition are told", async () => {
  const version = await h.put("k", "hello", "text/x-mine", { "X-TTL": "3600" });
  await h.withTab("#keys&key=k", async (tab) => {
    await opened(tab);
    assert.equal(await h.fact(tab, "Type"), "text/x-mine");
    assert.equal(await h.fact(tab, "Size"), "5 bytes");
    assert.equal(await h.fact(tab, "Version"), version);
    const told = await h.fact(tab, "Changed");
    assert.match(told, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
    assert.ok(Math.abs(new Date(told) - Number(BigInt(version) >> 10n) / 1000) < 1001, told);
    assert.match(await h.fact(tab, "Expires"), /in 60 min/);
    assert.equal(await h.fact(tab, "Partition"), String(await h.home("k")));
    assert.equal(await tab.getAttribute("#download", "href"), "/keys/k");
  });
});

test("each value has the forms that suit it, the best first", async () => {
  const cases = [
    ["text", "a\n\tb", "text/plain", "[Text] Hex", "a\n\tb"],
    ["json", '{"n":18446744073709551615}', "application/json", "[JSON] Text Hex", '{\n  "n": 18446744073709551615\n}'],
    ["json by itself", "[1]", "application/octet-stream", "[JSON] Text Hex", "[\n  1\n]"],
    ["broken json", "{", "application/json", "[Text] Hex", "{"],
    ["html", "<b>bold</b>", "text/html", "[Text] Hex", "<b>bold</b>"],
    ["svg", "<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", "[Text] Hex", "<svg xmlns='http://www.w3.org/2000/svg'/>"],
    ["bytes", Buffer.from([0, 1, 0xff, 0x41]), "application/octet-stream", "[Hex]", `00000000  ${"00 01 ff 41".padEnd(49)} ...A`],
    ["no text", Buffer.from([0xe9]), "text/plain; charset=iso-8859-1", "[Hex]", `00000000  ${"e9".padEnd(49)} .`],
    ["nothing", "", "text/plain", "[Text] Hex", "empty"],
    ["bom", "\ufeffx", "text/plain", "[Text] Hex", "\ufeffx"],
  ];
  for (const [key, value, type] of cases) await h.put(key, value, type);
  await h.withTab("", async (tab) => {
    for (const [key, , , expected, shown] of cases) {
      await h.row(tab, key).click();
      await h.until(() => h.text(tab, "#name"), key);
      await opened(tab);
      await h.until(() => content(tab), shown);
      assert.equal(await forms(tab), expected, key);
    }
    await h.row(tab, "json").click();
    await tab.click("#forms button:has-text('Text')");
    await h.until(() => content(tab), '{"n":18446744073709551615}');
    await tab.click("#forms button:has-text('Hex')");
    await h.until(async () => (await content(tab)).split("\n")[0], "00000000  7b 22 6e 22 3a 31 38 34  34 36 37 34 34 30 37 33  {\"n\":18446744073");
  });
});

test("pictures are shown as pictures, also large ones; what only says so is told", async () => {
  await h.put("small", png(16), "image/png");
  const large = png(400, true);
  assert.ok(large.length > 256 * 1024);
  await h.put("large", large, "image/png");
  await h.put("wrong", "no picture", "image/png");
  await h.withTab("", async (tab) => {
    for (const [key, width] of [["small", 16], ["large", 400]]) {
      await h.row(tab, key).click();
      await h.until(() => tab.evaluate(() => document.querySelector("#content img")?.naturalWidth), width);
      assert.equal(await forms(tab), "[Image] Hex");
    }
    await h.row(tab, "wrong").click();
    await h.until(() => content(tab), "This is no picture that the browser understands.");
    assert.equal(await forms(tab), "[Image] Text Hex");
  });
});

test("of a large value the first part is fetched, all of it when asked for", async () => {
  const value = "é".repeat(150_001);
  await h.put("large", value);
  await h.withTab("", async (tab) => {
    const sizes = [];
    tab.on("response", (answer) => answer.url().endsWith("/keys/large") && sizes.push([answer.status(), Number(answer.headers()["content-length"])]));
    await h.row(tab, "large").click();
    await h.until(() => h.text(tab, "#part-text"), "The first 256.0 KiB of 293.0 KiB.");
    assert.deepEqual(sizes, [[206, 262_144]]);
    assert.equal((await content(tab)).length, 131_072);
    await tab.click("#edit");
    assert.match(await h.text(tab, "#text-hint"), /Too large to edit here/);
    await tab.click("#cancel");
    await tab.click("#whole");
    await h.until(async () => (await content(tab)) === value, true);
    assert.equal(await tab.isVisible("#part"), false);
    const [saved] = await Promise.all([tab.waitForEvent("download"), tab.click("#download")]);
    assert.match(saved.suggestedFilename(), /^large/);
  });
});

test("a key that is not there can be created", () => h.withTab("#keys&key=new/one", async (tab) => {
  await h.until(() => notice(tab), "There is no such key.");
  await tab.click("#notice button");
  assert.equal(await tab.inputValue("#key"), "new/one");
  assert.equal(await h.focus(tab), "text");
  await tab.fill("#text", "now");
  await tab.click("#save");
  await h.until(() => content(tab), "now");
  assert.equal((await h.get("new/one")).text, "now");
}));

test("put: type, expiry and value as they were written", () => h.withTab("#keys&prefix=p%2f", async (tab) => {
  await tab.click("#new");
  assert.equal(await tab.inputValue("#key"), "p/");
  assert.equal(await h.focus(tab), "key");
  await tab.fill("#key", "p/é");
  await tab.fill("#type", "application/json");
  await tab.fill("#ttl", "100");
  await tab.fill("#text", "{");
  assert.equal(await h.text(tab, "#text-hint"), "This is no valid JSON (yet).");
  await tab.fill("#text", '{"a":\n1}');
  assert.equal(await h.text(tab, "#text-hint"), "");
  await tab.click("#save");
  await h.until(() => content(tab), '{\n  "a": 1\n}');
  const stored = await h.get("p/é");
  assert.deepEqual([stored.text, stored.type], ['{"a":\n1}', "application/json"]);
  assert.ok(Number(stored.ttl) > 90);
  await h.until(() => h.rows(tab), ["p/é"]);
  assert.equal(new URL(tab.url()).hash, "#keys&prefix=p%2f&key=p%2f%c3%a9");
}));

test("put never replaces what is there", async () => {
  await h.put("there", "theirs");
  await h.withTab("", async (tab) => {
    await tab.click("#new");
    await tab.fill("#key", "there");
    await tab.fill("#text", "mine");
    await tab.click("#save");
    await h.until(() => notice(tab), "This key is there already.");
    assert.equal(await tab.inputValue("#text"), "mine");
    assert.equal((await h.get("there")).text, "theirs");
    await tab.click("#notice button");
    await tab.click("#sure-yes"); // what was written is dropped
    await h.until(() => content(tab), "theirs");
  });
});

test("a file becomes a value, byte by byte", () => h.withTab("", async (tab) => {
  const picture = png(20);
  await tab.click("#new");
  await tab.fill("#key", "picture");
  await tab.setInputFiles("#file", { name: "x.png", mimeType: "image/png", buffer: picture });
  assert.equal(await tab.inputValue("#type"), "image/png");
  await tab.click("#save");
  await h.until(() => tab.evaluate(() => document.querySelector("#content img")?.naturalWidth), 20);
  assert.equal((await h.get("picture")).type, "image/png");
  // What is no text is replaced by a file, and only by one.
  await tab.click("#edit");
  assert.match(await h.text(tab, "#text-hint"), /no text, but a file/);
  await tab.click("#save");
  await h.until(() => notice(tab), "Choose a file that shall be the value.");
  await tab.setInputFiles("#file", { name: "x.txt", mimeType: "text/plain", buffer: Buffer.from("text") });
  await tab.click("#save");
  await h.until(() => content(tab), "text");
}));

test("edit keeps type, expiry, line ends and every character", async () => {
  const value = "one\r\ntwo\ttab\r\n\ufeff\u202eé😀 end ";
  await h.put("k", value, "text/x-mine; a=b", { "X-TTL": "5000" });
  await h.withTab("#keys&key=k", async (tab) => {
    await tab.click("#edit");
    await tab.locator("#text").press("Control+End");
    await tab.keyboard.type("!");
    await tab.click("#save");
    await h.until(() => content(tab), `${value}!`);
    const stored = await h.get("k");
    assert.deepEqual([stored.text, stored.type], [`${value}!`, "text/x-mine; a=b"]);
    assert.ok(Number(stored.ttl) > 4900, stored.ttl);
    await tab.click("#edit");
    await tab.fill("#ttl", "");
    await tab.click("#save");
    await h.until(() => h.fact(tab, "Expires"), "never");
    assert.equal((await h.get("k")).ttl, null);
  });
});

test("mixed line ends are told before they are lost", async () => {
  await h.put("k", "a\r\nb\nc");
  await h.withTab("#keys&key=k", async (tab) => {
    await tab.click("#edit");
    await tab.fill("#text", "a\nb\nc\nd");
    assert.match(await h.text(tab, "#text-hint"), /all will end with LF/);
    await tab.click("#save");
    await h.until(async () => (await h.get("k")).text, "a\nb\nc\nd");
  });
});

// The feed would tell it at once: it is kept away where a test is about If-Match.
const deaf = { before: (tab) => tab.route("**/changes?*", (route) => route.fulfill({ status: 404, body: "" })) };

test("a value that changed meanwhile is not overwritten: theirs", async () => {
  await h.put("k", "before");
  await h.withTab("#keys&key=k", async (tab) => {
    await tab.click("#edit");
    await h.put("k", "theirs");
    await tab.fill("#text", "mine");
    await tab.click("#save");
    await h.until(() => notice(tab), "This value was changed since you opened it. Nothing of yours was saved.");
    assert.equal((await h.get("k")).text, "theirs");
    assert.equal(await tab.inputValue("#text"), "mine");
    await tab.click("#notice button:has-text('theirs')");
    await h.until(() => content(tab), "theirs");
    assert.equal(await tab.isVisible("#notice"), false);
  }, deaf);
});

test("a value that changed meanwhile is not overwritten: mine after all", async () => {
  await h.put("k", "before");
  await h.withTab("#keys&key=k", async (tab) => {
    await tab.click("#edit");
    await h.put("k", "theirs");
    await tab.fill("#text", "mine");
    await tab.click("#save");
    await tab.click("#notice button:has-text('Save mine')");
    await h.until(() => content(tab), "mine");
    assert.equal((await h.get("k")).text, "mine");
    await tab.click("#edit");
    await h.remove("k");
    await tab.fill("#text", "again");
    await tab.click("#save");
    await tab.click("#notice button:has-text('Save mine')");
    await h.until(() => content(tab), "again");
    assert.equal((await h.get("k")).text, "again");
  }, deaf);
});

test("a value that changes while it is edited: a notice, and the text stays", async () => {
  await h.put("k", "before");
  await h.withTab("#keys&key=k", async (tab) => {
    await h.live(tab);
    await tab.click("#edit");
    await tab.fill("#text", "mine");
    await h.put("k", "theirs");
    await h.until(() => notice(tab), "This value was changed since you opened it. Nothing of yours was saved.");
    assert.equal(await tab.inputValue("#text"), "mine");
    await h.remove("k");
    await h.until(() => notice(tab), "This key was deleted since you opened it. Nothing of yours was saved.");
    assert.equal(await tab.inputValue("#text"), "mine");
    await tab.click("#notice button:has-text('Save mine')");
    await h.until(() => content(tab), "mine");
  });
});

test("delete asks, and leaves alone what changed meanwhile", async () => {
  await h.put("k", "before");
  await h.put("l", "before");
  await h.withTab("#keys&key=k", async (tab) => {
    await opened(tab);
    await tab.click("#delete");
    assert.equal(await h.text(tab, "#sure-text"), "Delete k?");
    await tab.click("#sure-no");
    assert.ok(await h.get("k"));
    await tab.click("#delete");
    await h.put("k", "theirs");
    await tab.click("#sure-yes");
    await h.until(() => notice(tab), "It was changed meanwhile, and not deleted.");
    assert.equal(await content(tab), "theirs");
    await tab.click("#delete");
    await tab.click("#sure-yes");
    await h.until(() => tab.isVisible("#pair"), false);
    assert.equal(await h.get("k"), null);
    await h.until(() => h.rows(tab), ["l"]);
    assert.equal(await h.focus(tab), "rows");
  }, deaf);
});

test("what was written is not lost by a slip", async () => {
  await h.put("k", "before");
  await h.put("l", "other");
  await h.withTab("#keys&key=k", async (tab) => {
    await tab.click("#edit");
    await tab.fill("#text", "written");
    await h.row(tab, "l").click();
    await tab.click("#sure-no");
    assert.equal(await tab.inputValue("#text"), "written");
    assert.equal(new URL(tab.url()).hash, "#keys&key=k");
    await tab.keyboard.press("Escape");
    await tab.click("#sure-no");
    assert.equal(await tab.inputValue("#text"), "written");
    await tab.keyboard.press("Escape");
    await tab.click("#sure-yes");
    await h.until(() => content(tab), "before");
    assert.equal((await h.get("k")).text, "before");
  });
});

test("refusals of the server are told in its words", () => h.withTab("", async (tab) => {
  await tab.click("#new");
  await tab.fill("#key", "x".repeat(513));
  await tab.click("#save");
  await h.until(() => notice(tab), "414: a key has 1 to 512 bytes, this one has more");
  await tab.fill("#key", "k");
  await tab.fill("#type", "text/\u20ac");
  await tab.click("#save");
  await h.until(async () => /^It cannot be sent/.test(await notice(tab)), true);
}));

test("a value is gone when it expires", async () => {
  await h.put("k", "short", "text/plain", { "X-TTL": "1" });
  await h.withTab("#keys&key=k", async (tab) => {
    await h.until(() => notice(tab), "There is no such key.");
  });
  await h.withTab("", async (tab) => {
    await h.live(tab);
    await h.put("l", "short", "text/plain", { "X-TTL": "1" });
    await h.until(() => h.rows(tab), ["l"]);
    await h.until(() => h.rows(tab), []);
  });
});
