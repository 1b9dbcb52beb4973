// SPDX-License-Identifier: MIT
// What all tests of the page share: the server (run.py starts it), SQL, a browser, tabs that notice
// what must not happen, and waiting.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import http from "node:http";
import { createRequire } from "node:module";
import { after } from "node:test";

const { chromium } = createRequire(`${process.env.SHERD_PAGE_MODULES}/`)("playwright-core");

export const url = process.env.SHERD_PAGE_URL;
export const sockets = JSON.parse(process.env.SHERD_PAGE_SOCKETS);
export const slack = Number(process.env.SHERD_TEST_SLACK ?? 1);
const WAIT_MS = 15_000 * slack; // only what fails takes so long

// ---------------------------------------------------------------- the store

// Keys are texts or bytes.
export const address = (key) =>
  `/keys/${Array.from(Buffer.from(key), (byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")}`;

// Not fetch(): that takes the key `..` for a way up the path.
export function request(method, path, { body = "", headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const bytes = Buffer.from(body);
    const sent = http.request({ hostname, port, method, path, headers: { ...headers, "Content-Length": bytes.length } }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => {
        const { statusCode: status } = answer;
        resolve({ status, ok: status < 300, headers: new Headers(answer.headers), text: Buffer.concat(parts).toString() });
      });
      answer.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(bytes);
  });
}

export async function put(key, value, type = "text/plain; charset=utf-8", headers = {}) {
  const answer = await request("PUT", address(key), { body: value, headers: { "Content-Type": type, ...headers } });
  assert.ok(answer.ok, `${answer.status}`);
  return answer.headers.get("ETag").replaceAll('"', "");
}

export async function get(key) {
  const answer = await request("GET", address(key));
  return answer.ok ? { text: answer.text, type: answer.headers.get("Content-Type"), ttl: answer.headers.get("X-TTL") } : null;
}

export async function remove(key) {
  assert.equal((await request("DELETE", address(key))).status, 204);
}

export async function putMany(keys, value = "v") {
  const lines = keys.map((key) => `${JSON.stringify({ op: "put", key, value })}\n`);
  const answer = await request("POST", "/bulk", { body: lines.join("") });
  const results = answer.text.trim().split("\n");
  assert.equal(results.length, keys.length);
  for (const line of results) assert.ok(JSON.parse(line).status < 300, line);
}

// Everything is gone; in test mode that is allowed.
export async function clear() {
  assert.equal((await request("DELETE", "/keys/:")).status, 204);
}

// The partition on which a key, there or not, has its home.
export async function home(key) {
  return Number((await request("GET", address(key))).headers.get("Sherd-Partition"));
}

// A `mariadb` that stays open; run() returns when the statement is done.
export class Client {
  constructor(partition) {
    this.process = spawn("mariadb", ["--no-defaults", "-S", sockets[partition - 1], "-u", "root", "-N", "-B", "--unbuffered",
      "--default-character-set=utf8mb4", "test_sherd"], { stdio: ["pipe", "pipe", "inherit"] });
    this.answers = "";
    this.process.stdout.on("data", (data) => {
      this.answers += data;
      this.heard?.();
    });
    this.count = 0;
  }

  run(sql) {
    const mark = `done ${++this.count}\n`;
    this.process.stdin.write(`${sql};\nSELECT '${mark.trim()}';\n`);
    return new Promise((resolve) => {
      this.heard = () => this.answers.includes(mark) && resolve();
      this.heard();
    });
  }

  end() {
    this.process.stdin.end();
  }
}

// ---------------------------------------------------------------- the browser

let browser = null;

export const close = () => browser?.close();
after(close);

// A tab of its own. tab.problems() are errors, violations of the policy, dialogs and scripts that ran.
export async function open(hash = "", options = {}) {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--force-prefers-reduced-motion"].slice(0, options.motion ? 2 : 3),
  });
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  const tab = await context.newPage();
  const problems = [];
  tab.setDefaultTimeout(WAIT_MS);
  tab.on("pageerror", (error) => problems.push(`error: ${error}`));
  tab.on("console", (message) => {
    // An answer of 4xx is logged by the browser; whether it was meant is for the test to say.
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) problems.push(`console: ${message.text()}`);
  });
  tab.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  tab.on("request", (sent) => {
    if (!sent.url().startsWith(options.at ?? url) && !sent.url().startsWith("blob:")) problems.push(`foreign request: ${sent.url()}`);
  });
  await context.exposeFunction("tellProblem", (text) => problems.push(text));
  await context.addInitScript(() => {
    window.addEventListener("securitypolicyviolation", (event) => window.tellProblem(`policy: ${event.violatedDirective} ${event.blockedURI}`));
    window.pwn = (what) => window.tellProblem(`script ran: ${what}`);
  });
  tab.problems = () => problems;
  tab.close_ = () => context.close();
  if (options.before) await options.before(tab);
  await tab.goto(`${options.at ?? url}/${hash}`);
  return tab;
}

// Opens a tab, works in it, and asserts that nothing happened that must not.
export async function withTab(hash, work, options = {}) {
  const tab = await open(hash, options);
  try {
    await work(tab);
    assert.deepEqual(tab.problems(), []);
  } finally {
    await tab.close_();
  }
}

// Waits until `read` gives what is expected; fails with the difference.
export async function until(read, expected, ms = WAIT_MS) {
  const deadline = performance.now() + ms;
  for (;;) {
    let value;
    try {
      value = await read();
      assert.deepEqual(value, expected);
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

// ---------------------------------------------------------------- looking

// The texts of the rows that are elements, in their order. In one step: $$eval finds them in one and reads
// them in another, between which the list may use an element for another row.
export const rows = (tab) =>
  tab.evaluate(() => Array.from(document.querySelectorAll("#rows .key"), (key) => key.textContent));

export const row = (tab, name) => tab.locator("#rows [role=option]").filter({ has: tab.getByText(name, { exact: true }) });
export const text = (tab, selector) => tab.$eval(selector, (element) => element.textContent);
export const live = (tab) => until(() => tab.getAttribute("#live", "data-state"), "live");

// The fact of that name about the pair that is open.
export const fact = (tab, name) =>
  tab.evaluate((wanted) => Array.from(document.querySelectorAll("#facts > div"))
    .find((found) => found.firstChild.textContent === wanted)?.lastChild.textContent ?? null, name);

// The element that has the focus: its id, or what it is.
export const focus = (tab) => tab.evaluate(() => document.activeElement.id || document.activeElement.textContent);
