// SPDX-License-Identifier: MIT
// A server that wants a token: the page asks for it, keeps it in memory only, and works as elsewhere.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as h from "./help.mjs";

beforeEach(h.clear);

const at = process.env.SHERD_PAGE_GUARDED;
const token = process.env.SHERD_PAGE_TOKEN;

const asked = (tab) => tab.evaluate(() => document.getElementById("sign-in").open && document.getElementById("sign-in-text").textContent);

async function signIn(tab, text = token) {
  await h.until(async () => Boolean(await asked(tab)), true);
  await tab.fill("#token", text);
  await tab.keyboard.press("Enter");
}

test("the page asks for a token, and then shows, edits and follows what is there", async () => {
  await h.put("a", "value of a");
  await h.withTab("", async (tab) => {
    assert.deepEqual(await h.rows(tab), []);
    await signIn(tab);
    await h.until(() => h.rows(tab), ["a"]);
    await h.live(tab);
    await h.put("b", "by another");
    await h.until(() => h.rows(tab), ["a", "b"]);
    await h.row(tab, "a").click();
    await h.until(() => h.text(tab, "#content"), "value of a");
    await tab.click("#edit");
    await tab.fill("#text", "edited");
    await tab.click("#save");
    await h.until(() => h.text(tab, "#content"), "edited");
    assert.equal((await h.get("a")).text, "edited");
    const [saved] = await Promise.all([tab.waitForEvent("download"), tab.click("#download")]);
    assert.match(saved.suggestedFilename(), /^a(\.txt)?$/); // the browser adds what it takes it for
    const stream = await saved.createReadStream();
    assert.equal(Buffer.concat(await stream.toArray()).toString(), "edited");
    assert.equal(await asked(tab), false);
  }, { at });
});

test("a token that is not known is asked for again, once for all requests", () => h.withTab("", async (tab) => {
  await h.until(() => asked(tab), "The server asks for a token.");
  await signIn(tab, "wrong");
  await h.until(() => asked(tab), "This token is not known.");
  await signIn(tab);
  await h.live(tab);
  assert.equal(await asked(tab), false);
}, { at }));

test("who cancels sees why nothing is there, is not asked again, and may sign in later", () => h.withTab("", async (tab) => {
  await h.until(async () => Boolean(await asked(tab)), true);
  await tab.keyboard.press("Escape");
  await h.until(async () => (await h.text(tab, "#count")).includes("401"), true);
  await tab.click("#count button");
  await h.until(async () => (await h.text(tab, "#count")).includes("401"), true);
  assert.equal(await asked(tab), false);
  await tab.click("#sign-in-again");
  await signIn(tab);
  await h.until(() => h.text(tab, "#count"), "There are no keys yet.");
  assert.equal(await tab.isVisible("#sign-in-again"), false);
}, { at }));

test("the token is kept nowhere but in memory", () => h.withTab("", async (tab) => {
  await signIn(tab);
  await h.live(tab);
  const kept = await tab.evaluate(async () => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href,
    history.state, await indexedDB.databases(), await caches.keys(), document.documentElement.outerHTML, document.getElementById("token").value]));
  assert.ok(!kept.includes(token));
  await tab.reload();
  await h.until(() => asked(tab), "The server asks for a token.");
}, { at }));

test("a token that may not see the machine is told so, the keys go on", () => h.withTab("", async (tab) => {
  await signIn(tab);
  await h.live(tab);
  await tab.click("#to-partitions");
  await h.until(async () => (await h.text(tab, "#partitions-view")).includes("403"), true);
  await tab.click("#to-keys");
  await h.live(tab);
}, { at }));
