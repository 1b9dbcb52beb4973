// SPDX-License-Identifier: MIT
// The modules of the page that know neither server nor screen, as the browser loads them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { withTab } from "./help.mjs";

// Calls an exported function in the browser.
const call = (tab, module, name, ...given) =>
  tab.evaluate(async ([m, n, g]) => (await import(`/page/${m}.js`))[n](...g), [module, name, given]);

test("keys: what is shown can be typed", () => withTab("", async (tab) => {
  const keys = ["a", "", "a b", " a ", "a/b:c", "\\", "\\\\", "\\x41", "\\\\x41", "\\\xff", "\xff\\", "\\x4", "\\xzz", "\xff", "\0", "a\nb", "\x7f",
    "\xc3\xa9", "\xc3", "\xa9", "\xe2\x80\xae", "\xf0\x9f\x98\x80", "\xf0\x9f\x98", "\xc0\x80", "\xed\xa0\x80", "\xc2\xa0", "\xef\xbb\xbf", "%41", "+"];
  for (let i = 0; i < 256; i++) keys.push(`x${String.fromCharCode(i)}y`, `${String.fromCharCode(i)}\\x${String.fromCharCode(i)}`);
  const wrong = await tab.evaluate(async (all) => {
    const { show, parse } = await import("/page/keys.js");
    return all.filter((key) => parse(show(key)) !== key).map((key) => [key, show(key)]);
  }, keys);
  assert.deepEqual(wrong, []);
  const shown = new Map([["\xff\\", "\\xff\\"], ["\xc3\xa9", "é"], ["\xc3", "\\xc3"], ["\\x41", "\\\\x41"], ["C:\\dir", "C:\\dir"], ["\xe2\x80\xae", "\\xe2\\x80\\xae"],
    [" a b ", "\\x20a b\\x20"], ["\xf0\x9f\x98\x80", "😀"], ["\xed\xa0\x80", "\\xed\\xa0\\x80"]]);
  for (const [key, text] of shown) assert.equal(await call(tab, "keys", "show", key), text);
}));

test("keys: no byte gets lost on the way to the server", () => withTab("", async (tab) => {
  const every = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join("");
  const encoded = await call(tab, "keys", "encode", every);
  assert.match(encoded, /^([A-Za-z0-9._~-]|%[0-9a-f]{2})+$/);
  assert.equal(await call(tab, "keys", "decode", encoded), every);
  assert.equal(await tab.evaluate((path) => new URL(`/keys/a${path}..%2f`, location).pathname, encoded), `/keys/a${encoded}..%2f`);
}));

test("versions are compared beyond the precision of numbers", () => withTab("", async (tab) => {
  for (const [a, b, newer] of [["1838368004195066882", "1838368004195066881", true], ["9", "10", false], ["10", "9", true], ["5", "5", false]])
    assert.equal(await call(tab, "keys", "newer", a, b), newer);
}));

test("JSON: indented, and nothing else changed", () => withTab("", async (tab) => {
  const cases = [["1", "1"], [' {"b":1, "a":[ ] , "b":2} ', '{\n  "b": 1,\n  "a": [],\n  "b": 2\n}'], ["[18446744073709551615,1.0e+00]", "[\n  18446744073709551615,\n  1.0e+00\n]"],
    ['"a\\"b,{}\\u0041\\\\"', '"a\\"b,{}\\u0041\\\\"'], ["[[],{},[null]]", "[\n  [],\n  {},\n  [\n    null\n  ]\n]"]];
  for (const [text, indented] of cases) assert.equal(await call(tab, "show", "indentJSON", text), indented);
  const large = JSON.stringify({ long: "x\"\\".repeat(500_000), list: Array.from({ length: 10_000 }, (_, i) => i) });
  assert.deepEqual(JSON.parse(await call(tab, "show", "indentJSON", large)), JSON.parse(large));
  await assert.rejects(call(tab, "show", "indentJSON", "[1,]"));
}));

// Applies random changes to rows and to a map, in which they are found at the same time.
test("rows: changes and pages in any order give what a fresh list gives", () => withTab("", async (tab) => {
  const wrong = await tab.evaluate(async () => {
    const { Rows } = await import("/page/rows.js");
    let seed = 1;
    const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
    for (let round = 0; round < 300; round++) {
      const store = new Map();
      const delimiter = ["", "/", "ab"][round % 3];
      const prefix = ["", "a"][random(2)];
      let version = 1000;
      const change = () => {
        const key = Array.from({ length: 1 + random(4) }, () => "ab/c"[random(4)]).join("");
        version++;
        if (random(3)) {
          store.set(key, { type: "t", version: String(version) });
          return { event: "put", key, type: "t", version: String(version) };
        }
        store.delete(key);
        return { event: "delete", key, version: String(version) };
      };
      const list = (after, limit) => {
        const found = new Map();
        for (const key of [...store.keys()].sort()) {
          if (!key.startsWith(prefix)) continue;
          const cut = delimiter ? key.indexOf(delimiter, prefix.length) : -1;
          if (cut >= 0) found.set(key.slice(0, cut + delimiter.length), { prefix: key.slice(0, cut + delimiter.length) });
          else found.set(key, { key, ...store.get(key) });
        }
        const items = [...found].filter(([name]) => name > after).map(([, item]) => item);
        return [items.slice(0, limit), items.length > limit];
      };
      for (let i = 0; i < 20; i++) change();
      const rows = new Rows(prefix, delimiter);
      const apply = (changes) => {
        for (const folder of rows.apply(changes))
          if (![...store.keys()].some((key) => key.startsWith(folder))) rows.drop(folder);
      };
      let last = "";
      while (rows.reach !== null) {
        const late = Array.from({ length: random(3) ? random(4) : random(60) }, change);
        const [page, more] = list(last, 1 + random(8)); // it has all of them
        const behind = Array.from({ length: random(4) }, change); // and nothing of these
        if (random(2)) apply([...late, ...behind]);
        rows.addPage(page, more);
        last = page.at(-1)?.key ?? page.at(-1)?.prefix ?? last;
        apply([...late, ...behind]); // once more: at least once
      }
      apply(Array.from({ length: 50 }, change));
      const expected = new Rows(prefix, delimiter);
      expected.addPage(...list("", Infinity));
      const plain = (all) => JSON.stringify(all.map(({ name, folder, version: v }) => [name, folder ?? false, v ?? null]));
      if (plain(rows.all) !== plain(expected.all)) return `round ${round}: ${plain(rows.all)} instead of ${plain(expected.all)}`;
    }
    return null;
  });
  assert.equal(wrong, null);
}));

test("metrics: sums over labels, quantiles between two readings", () => withTab("", async (tab) => {
  const found = await tab.evaluate(async () => {
    const { readMetrics, quantile } = await import("/page/partitions.js");
    const text = (a, b, c) => `# HELP x y\n# TYPE x histogram\nx_bucket{le="0.1"} ${a}\nx_bucket{le="0.2"} ${b}\nx_bucket{le="+Inf"} ${c}\ny{p="1",q="a"} 3\ny{p="2",q="a"} 4\n`;
    const [before, after] = [readMetrics(text(5, 5, 5)), readMetrics(text(5, 15, 15))];
    return [after.sum("y"), after.sum("y", { p: 2 }), after.sum("z"), quantile(before, after, "x", 0.5), quantile(after, after, "x", 0.5)];
  });
  assert.deepEqual([...found.slice(0, 3), found[3].toFixed(3), found[4]], [7, 4, 0, "0.150", null]);
}));
