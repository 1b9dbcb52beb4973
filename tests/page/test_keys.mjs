// SPDX-License-Identifier: MIT
// The list: searching, folders, scrolling, keys of any bytes, the keyboard, narrow screens.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as h from "./help.mjs";

beforeEach(h.clear);

test("lists all keys in the order of their bytes", async () => {
  for (const key of ["b", "a", "é", "Z", "a b"]) await h.put(key, "v");
  await h.withTab("", async (tab) => {
    await h.until(() => h.rows(tab), ["Z", "a", "a b", "b", "é"]);
    assert.equal(await h.text(tab, "#count"), "5 rows");
    assert.equal(await tab.title(), "Sherd");
  });
});

test("an empty store says so, and shows the first key when it comes", () => h.withTab("", async (tab) => {
  await h.until(() => h.text(tab, "#count"), "There are no keys yet.");
  await h.live(tab);
  await h.put("first", "v");
  await h.until(() => h.rows(tab), ["first"]);
}));

test("a prefix narrows the list while it is typed, and stays in the address", async () => {
  for (const key of ["apple", "apricot", "banana"]) await h.put(key, "v");
  await h.withTab("", async (tab) => {
    await h.until(() => h.rows(tab).then((all) => all.length), 3);
    await tab.fill("#prefix", "ap");
    await h.until(() => h.rows(tab), ["apple", "apricot"]);
    await tab.fill("#prefix", "apr");
    await h.until(() => h.rows(tab), ["apricot"]);
    assert.equal(new URL(tab.url()).hash, "#keys&prefix=apr");
    await tab.fill("#prefix", "x");
    await h.until(() => h.text(tab, "#count"), "No key begins so.");
    await tab.fill("#prefix", "ap");
    await h.until(() => h.rows(tab), ["apple", "apricot"]);
    await tab.reload();
    await h.until(() => h.rows(tab), ["apple", "apricot"]);
    assert.equal(await tab.inputValue("#prefix"), "ap");
  });
});

test("folders open, the path leads back, and so does the browser", async () => {
  for (const key of ["a", "r/1/x", "r/1/y", "r/2/x", "r/z", "s:1"]) await h.put(key, "v");
  await h.withTab("", async (tab) => {
    await h.until(() => h.rows(tab), ["a", "r/", "s:1"]);
    await h.row(tab, "r/").click();
    await h.until(() => h.rows(tab), ["1/", "2/", "r/z"]);
    await h.row(tab, "1/").click();
    await h.until(() => h.rows(tab), ["r/1/x", "r/1/y"]);
    assert.equal(await tab.inputValue("#prefix"), "r/1/");
    assert.deepEqual(await tab.$$eval("#path a", (links) => links.map((link) => link.textContent)), ["all", "r/", "1/"]);
    await tab.goBack();
    await h.until(() => h.rows(tab), ["1/", "2/", "r/z"]);
    await tab.click("#path a:first-child");
    await h.until(() => h.rows(tab), ["a", "r/", "s:1"]);
    await tab.fill("#delimiter", ":");
    await h.until(() => h.rows(tab), ["a", "r/1/x", "r/1/y", "r/2/x", "r/z", "s:"]);
    await tab.fill("#delimiter", "");
    await h.until(() => h.rows(tab), ["a", "r/1/x", "r/1/y", "r/2/x", "r/z", "s:1"]);
  });
});

test("a folder goes with its last key and comes with its first", async () => {
  await h.put("f/1", "v");
  await h.put("f/2", "v");
  await h.withTab("", async (tab) => {
    await h.live(tab);
    await h.until(() => h.rows(tab), ["f/"]);
    await h.remove("f/1");
    await h.put("g/1", "v");
    await h.until(() => h.rows(tab), ["f/", "g/"]);
    await h.remove("f/2");
    await h.until(() => h.rows(tab), ["g/"]);
  });
});

test("keys of any bytes are listed, opened, edited and deleted", async () => {
  const keys = [Buffer.from([0xff, 0x00, 0x0a]), "\u202egnp.exe", " ", "a/../b", "..", ".", "a:", "100%", "?x#y", "\\x41", "é/ü"];
  for (const key of keys) await h.put(key, "before");
  await h.withTab("#keys&delimiter=", async (tab) => {
    const shown = ["\\x20", ".", "..", "100%", "?x#y", "\\\\x41", "a/../b", "a:", "é/ü", "\\xe2\\x80\\xaegnp.exe", "\\xff\\x00\\x0a"];
    await h.until(() => h.rows(tab), shown);
    for (const name of shown) {
      await h.row(tab, name).click();
      await h.until(() => h.text(tab, "#content"), "before");
      assert.equal(await h.text(tab, "#name"), name);
      await tab.click("#edit");
      await tab.fill("#text", `now ${name}`);
      await tab.click("#save");
      await h.until(() => h.text(tab, "#content"), `now ${name}`);
    }
    assert.equal((await h.get(keys[0])).text, "now \\xff\\x00\\x0a");
    assert.equal((await h.get("a/../b")).text, "now a/../b");
    for (const name of shown) {
      await h.row(tab, name).click();
      await h.until(() => h.text(tab, "#content"), `now ${name}`);
      await tab.click("#delete");
      await tab.click("#sure-yes");
      await h.until(async () => (await h.rows(tab)).includes(name), false);
    }
    await h.until(() => h.text(tab, "#count"), "There are no keys yet.");
  });
});

test("a key of any bytes can be typed", () => h.withTab("", async (tab) => {
  await tab.click("#new");
  await tab.fill("#key", "a\\xff\\\\b\\c");
  await tab.fill("#text", "typed");
  await tab.click("#save");
  await h.until(() => h.text(tab, "#content"), "typed");
  assert.equal((await h.get(Buffer.from([0x61, 0xff, 0x5c, 0x62, 0x5c, 0x63]))).text, "typed");
  await tab.click("#close");
  await tab.fill("#prefix", "a\\xff");
  await h.until(() => h.rows(tab), ["a\\xff\\b\\c"]);
}));

test("100,000 keys scroll to their end with few elements, and smoothly", async () => {
  const names = Array.from({ length: 100_000 }, (_, i) => `k${String(i).padStart(6, "0")}`);
  for (let i = 0; i < names.length; i += 10_000) await h.putMany(names.slice(i, i + 10_000));
  await h.withTab("", async (tab) => {
    await h.until(async () => (await h.rows(tab))[0], "k000000");
    const most = await tab.evaluate(async () => {
      const list = document.getElementById("rows");
      let elements = 0;
      for (let before = -1; before !== list.scrollTop || !document.getElementById("count").textContent.startsWith("100,000 "); ) {
        before = list.scrollTop;
        list.scrollTop = list.scrollHeight;
        await new Promise((resolve) => requestAnimationFrame(resolve));
        elements = Math.max(elements, list.getElementsByTagName("*").length);
      }
      list.scrollTop = list.scrollHeight;
      return elements;
    });
    await h.until(async () => (await h.rows(tab)).at(-1), "k099999");
    assert.ok(most < 400, `${most} elements`);
    // Two hundred leaps through the whole list; between two frames of the screen nothing takes long.
    const { gaps, shown } = await tab.evaluate(async () => {
      const list = document.getElementById("rows");
      const times = [];
      for (let i = 0; i < 200; i++) {
        list.scrollTop = ((i * 37) % 200) * (list.scrollHeight / 200);
        times.push(await new Promise((resolve) => requestAnimationFrame(resolve)));
      }
      return { gaps: times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b), shown: list.getElementsByTagName("*").length };
    });
    console.log(`# frames while scrolling 100,000 keys: median ${gaps[100].toFixed(1)} ms, 99 % ${gaps[196].toFixed(1)} ms; ${shown} elements`);
    assert.ok(gaps[100] < 34 * h.slack, `${gaps[100]} ms a frame`);
    // A key that comes above does not move what one looks at.
    await h.live(tab);
    await tab.evaluate(() => (document.getElementById("rows").scrollTop = 34 * 50_000));
    const topRow = () => tab.evaluate(() => {
      const list = document.getElementById("rows").getBoundingClientRect();
      return document.elementFromPoint(list.left + 40, list.top + 10).closest("[role=option]").querySelector(".key").textContent;
    });
    await h.until(topRow, "k050000");
    await h.put("k000000a", "v");
    await h.until(() => h.text(tab, "#count"), "100,001 rows");
    assert.equal(await topRow(), "k050000");
  });
});

test("by keyboard alone: search, move, open, edit, save, close, delete, folders", async () => {
  for (const key of ["a", "b", "c", "d/e"]) await h.put(key, `value ${key}`);
  await h.withTab("", async (tab) => {
    const press = (...keys) => keys.reduce((before, key) => before.then(() => tab.keyboard.press(key)), Promise.resolve());
    await h.until(() => h.rows(tab), ["a", "b", "c", "d/"]);
    await press("/");
    assert.equal(await h.focus(tab), "prefix");
    await tab.keyboard.type("b");
    await h.until(() => h.rows(tab), ["b"]);
    await press("Backspace");
    await h.until(() => h.rows(tab), ["a", "b", "c", "d/"]);
    await press("Enter"); // to the list
    assert.equal(await h.focus(tab), "rows");
    const active = () => tab.evaluate(() => document.getElementById(document.activeElement.getAttribute("aria-activedescendant"))?.firstChild.textContent);
    await press("ArrowDown", "ArrowDown");
    assert.equal(await active(), "b");
    await press("End");
    assert.equal(await active(), "d/");
    await press("Enter");
    await h.until(() => h.rows(tab), ["d/e"]);
    await press("Backspace");
    await h.until(() => h.rows(tab), ["a", "b", "c", "d/"]);
    await h.until(active, "d/"); // where one came from
    await press("Home", "ArrowDown", "Enter");
    await h.until(() => h.text(tab, "#content"), "value b");
    assert.equal(await h.focus(tab), "name");
    for (let i = 0; (await h.focus(tab)) !== "edit"; i++) {
      assert.ok(i < 10, "Edit is not reached");
      await press("Tab");
    }
    await press("Enter");
    assert.equal(await h.focus(tab), "text");
    await press("Control+A");
    await tab.keyboard.type("typed");
    for (let i = 0; (await h.focus(tab)) !== "save"; i++) {
      assert.ok(i < 10, "Save is not reached");
      await press("Tab");
    }
    await press("Enter");
    await h.until(() => h.text(tab, "#content"), "typed");
    assert.equal((await h.get("b")).text, "typed");
    await press("Escape");
    await h.until(() => h.focus(tab), "rows");
    assert.equal(await tab.isVisible("#pair"), false);
    assert.equal(await active(), "b");
    await press("ArrowDown", "Delete");
    await h.until(() => h.focus(tab), "sure-no");
    await press("Escape"); // no
    await h.until(() => h.focus(tab), "rows");
    assert.ok(await h.get("c"));
    await press("Delete");
    await h.until(() => h.focus(tab), "sure-no");
    await press("Shift+Tab", "Enter");
    await h.until(() => h.rows(tab), ["a", "b", "d/"]);
    assert.equal(await h.get("c"), null);
  });
});

test("everything that can be used is reached by Tab, and seen when it is", async () => {
  await h.put("a", "v");
  await h.withTab("#keys&key=a", async (tab) => {
    await h.until(() => h.text(tab, "#content"), "v");
    const wanted = await tab.$$eval("a[href], button, input, textarea, [tabindex='0']", (all) =>
      all.filter((element) => element.checkVisibility() && !element.disabled).map((element) => element.id || element.textContent));
    const found = new Set();
    await tab.evaluate(() => document.activeElement.blur());
    for (let i = 0; i < wanted.length + 5; i++) {
      await tab.keyboard.press("Tab");
      const [name, outlined] = await tab.evaluate(() => {
        const element = document.activeElement;
        return [element.id || element.textContent, element === document.body || getComputedStyle(element).outlineStyle !== "none"];
      });
      assert.ok(outlined, `the focus on ${name} is not seen`);
      found.add(name);
    }
    assert.deepEqual(wanted.filter((name) => !found.has(name)), []);
  });
});

test("without a feed the page works by hand, and says so", async () => {
  await h.put("a", "v");
  await h.withTab("", async (tab) => {
    await h.until(() => h.rows(tab), ["a"]);
    await h.until(() => h.text(tab, "#live-text"), "live updates: off");
    await tab.click("#new");
    await tab.fill("#key", "b");
    await tab.click("#save");
    await h.until(() => h.rows(tab), ["a", "b"]);
    await tab.click("#delete");
    await tab.click("#sure-yes");
    await h.until(() => h.rows(tab), ["a"]);
  }, { before: (tab) => tab.route("**/changes?*", (route) => route.fulfill({ status: 404, body: "" })) });
});

// What sticks out of the screen to the right.
const overflow = (tab) => tab.evaluate(() => {
  const wide = [...document.querySelectorAll("body *")].filter((element) => {
    if (!element.checkVisibility() || element.closest("#content, .hidden")) return false;
    return element.getBoundingClientRect().right > innerWidth + 0.5;
  });
  return [document.documentElement.scrollWidth > innerWidth, ...wide.map((element) => element.id || element.className || element.tagName)];
});

for (const colorScheme of ["light", "dark"]) {
  test(`360 px, ${colorScheme}: nothing sticks out, everything has contrast`, async () => {
    const long = "a-very-long-key-without-any-place-to-break-it-".repeat(6);
    await h.put(long, JSON.stringify({ long: "x".repeat(500) }), "application/json; profile=a-type-that-is-longer-than-the-screen-is-wide-for-it");
    await h.put("folder/with/many/steps/and/one/more/step/leaf", "v");
    const narrow = { viewport: { width: 360, height: 640 }, colorScheme, hasTouch: true };
    for (const hash of ["", "#keys&prefix=folder%2fwith%2fmany%2fsteps%2fand%2fone%2fmore%2fstep%2f", `#keys&key=${long}`, "#partitions"]) {
      await h.withTab(hash, async (tab) => {
        if (hash === "#partitions") await tab.waitForSelector("#table > [role=row]:nth-of-type(4)");
        else if (hash.includes("key=")) await tab.waitForSelector("#content pre");
        else await tab.waitForSelector("#rows [role=option]");
        await h.until(() => overflow(tab), [false]);
        assert.deepEqual(await faint(tab), []);
        if (!hash.includes("key=")) return;
        await tab.click("#edit");
        assert.deepEqual(await overflow(tab), [false]);
        await tab.click("#cancel");
        await tab.click("#delete");
        assert.deepEqual(await overflow(tab), [false]);
        await tab.click("#sure-no");
        await tab.click("#close");
        await tab.waitForSelector("#rows [role=option]");
        await tab.click("#new");
        assert.deepEqual(await overflow(tab), [false]);
      }, narrow);
    }
  });
}

// Texts with less contrast to what is behind them than 4.5 : 1 (WCAG 2, AA).
const faint = (tab) => tab.evaluate(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (color) => {
    const [r, g, b] = Array.from(rgb(color).slice(0, 3), (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) if (rgb(getComputedStyle(at).backgroundColor)[3] === 255) return getComputedStyle(at).backgroundColor;
    return "white";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const says = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!says || !element.checkVisibility() || element.closest("svg, .hidden")) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`${element.id || element.className || element.tagName}: ${((a + 0.05) / (b + 0.05)).toFixed(1)}`);
  }
  return found;
});
