// SPDX-License-Identifier: MIT
// Whatever is stored, none of it runs in the page. Every tab of these tests notices scripts that call
// pwn(), dialogs, requests to elsewhere and violations of the policy (help.mjs).
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as h from "./help.mjs";

beforeEach(h.clear);

const attacks = [
  "<img src=x onerror=pwn(1)>", "<script>pwn(2)</script>", "\"><svg onload=pwn(3)>", "'-pwn(4)-'", "javascript:pwn(5)", "</textarea><script>pwn(6)</script>",
  "</title></style><iframe srcdoc='<script>parent.pwn(7)</script>'>", "<a href=javascript:pwn(8) autofocus onfocus=pwn(9)>x</a>", "{{constructor.constructor('pwn(10)')()}}",
  "<style>@import '/keys/x'</style>", "<base href=//evil.example>", "<meta http-equiv=refresh content='0;url=//evil.example'>", "<link rel=stylesheet href=//evil.example>",
];
const types = ["text/html", "text/plain", "image/svg+xml", "image/png", "application/json", "application/xhtml+xml", "text/javascript", "text/x<script>pwn(11)</script>"];

test("keys, values and types that look like markup stay text everywhere", async () => {
  for (const [i, attack] of attacks.entries()) await h.put(attack, `${attack} of ${i}`, types[i % types.length]);
  await h.put(`folder${attacks[0]}/x`, attacks.join("\n"), "text/html");
  await h.withTab("#keys&delimiter=", async (tab) => {
    await h.live(tab);
    await h.until(async () => (await h.rows(tab)).length, attacks.length + 1);
    const names = await h.rows(tab);
    for (const attack of attacks) assert.ok(names.includes(attack), attack);
    for (const attack of attacks) {
      await h.row(tab, attack).click();
      await h.until(() => h.text(tab, "#name"), attack);
      await tab.waitForSelector("#content > *");
      for (const form of await tab.$$("#forms button")) await form.click();
      await tab.click("#edit");
      await tab.click("#cancel");
      await tab.waitForSelector("#shown:not([hidden])");
      await tab.click("#delete");
      assert.equal(await h.text(tab, "#sure-text"), `Delete ${attack}?`);
      await tab.click("#sure-no");
      await h.put(attack, `${attack} again`, types[0]); // and by the feed
      await h.until(async () => (await h.text(tab, "#content")).includes("again"), true);
    }
    for (const attack of attacks) {
      await tab.fill("#prefix", attack);
      await h.until(() => h.rows(tab), [attack]);
    }
    assert.deepEqual(await tab.$$eval("script:not([src]), iframe, object, embed, base, meta[http-equiv], [onerror], [onload], [onfocus], main a[href^='javascript']",
      (all) => all.map((element) => element.outerHTML)), []);
  });
  await h.withTab(`#keys&delimiter=%2f&prefix=${encodeURIComponent(`folder${attacks[0]}/`)}`, async (tab) => {
    await h.until(() => h.rows(tab), [`folder${attacks[0]}/x`]);
  });
});

test("pictures with scripts, JSON with markup", async () => {
  const svg = "<svg xmlns='http://www.w3.org/2000/svg' onload='pwn(20)'><script>pwn(21)</script><foreignObject><img xmlns='http://www.w3.org/1999/xhtml' src='x' onerror='pwn(22)'/></foreignObject></svg>";
  await h.put("svg", svg, "image/svg+xml");
  await h.put("svg as png", svg, "image/png");
  await h.put("html as gif", "GIF89a=1;pwn(23)//<script>pwn(24)</script>", "image/gif");
  await h.put("json", JSON.stringify({ "<img src=x onerror=pwn(25)>": ["</pre><script>pwn(26)</script>"], __proto__: 1 }), "application/json");
  await h.withTab("", async (tab) => {
    for (const key of ["svg", "svg as png", "html as gif", "json"]) {
      await h.row(tab, key).click();
      await h.until(() => h.text(tab, "#name"), key);
      await tab.waitForSelector("#content > *");
      for (const form of await tab.$$("#forms button")) await form.click();
    }
    await h.row(tab, "svg").click();
    await h.until(() => h.text(tab, "#content"), svg);
  });
});

test("a hash that somebody sends one does nothing but name a place", async () => {
  for (const hash of ["#<img src=x onerror=pwn(30)>", "#keys&key=%3Cimg%20src=x%20onerror=pwn(31)%3E", "#keys&prefix=%", "#javascript:pwn(32)", "#keys&__proto__=x&view=partitions&delimiter=%ff%fe"])
    await h.withTab(hash, async (tab) => {
      await h.until(() => h.text(tab, "#count").then(Boolean), true);
    });
});

test("a stored page or script that is opened itself is inert, and reads nothing", async () => {
  await h.put("secret", "secret value");
  await h.put("page.html", `<!doctype html><title>stored</title><p id=p>stored</p><img src=x onerror="pwn(40)"><script>pwn(41);fetch('/keys/secret').then(r=>r.text()).then(pwn)</script>
    <script src="/keys/script.js"></script><form action="/keys/x"><button>x</button></form>`, "text/html");
  await h.put("script.js", "pwn(42)", "text/javascript");
  const tab = await h.open();
  try {
    await tab.goto(`${h.url}/keys/page.html`);
    assert.equal(await h.text(tab, "#p"), "stored"); // it is shown
    assert.equal(await tab.evaluate(() => window.origin), "null"); // and belongs to nobody
    assert.deepEqual(tab.problems().filter((problem) => problem.startsWith("script ran")), []);
  } finally {
    await tab.close_();
  }
});

test("should the page ever make markup of a value, the policy stops it", async () => {
  await h.put("script.js", "pwn(50)", "text/javascript");
  const tab = await h.open();
  try {
    await h.live(tab);
    const tries = await tab.evaluate(async () => {
      const done = {};
      const attempt = (name, work) => {
        try {
          work();
          done[name] = "ran";
        } catch (error) {
          done[name] = error.name;
        }
      };
      attempt("innerHTML", () => (document.getElementById("content").innerHTML = "<img src=x onerror=pwn(51)>"));
      attempt("script.text", () => (document.createElement("script").text = "pwn(52)"));
      attempt("script.src", () => (document.createElement("script").src = "/keys/script.js"));
      attempt("srcdoc", () => (document.createElement("iframe").srcdoc = "<script>parent.pwn(53)</script>"));
      attempt("policy", () => window.trustedTypes.createPolicy("x", { createHTML: (text) => text }));
      attempt("onclick", () => document.body.setAttribute("onclick", "pwn(54)"));
      const image = new Image();
      image.src = "http://127.0.0.2:1/";
      done.image = await new Promise((resolve) => {
        image.onload = () => resolve("ran");
        image.onerror = () => resolve("refused");
      });
      done.fetch = await fetch("http://127.0.0.2:1/").then(() => "ran", () => "refused");
      return done;
    });
    assert.deepEqual(tries, { innerHTML: "TypeError", "script.text": "TypeError", "script.src": "TypeError", srcdoc: "TypeError", policy: "TypeError",
      onclick: "TypeError", image: "refused", fetch: "refused" });
    assert.deepEqual(tab.problems().filter((problem) => problem.startsWith("script ran")), []);
    assert.ok(tab.problems().some((problem) => problem.startsWith("policy: require-trusted-types-for")), "the watch for violations sees none");
  } finally {
    await tab.close_();
  }
});
