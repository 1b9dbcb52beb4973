// SPDX-License-Identifier: MIT
// The page as a whole. Where one is stands behind the # of the address: #keys&prefix=…&delimiter=…&key=…
// or #partitions; every move goes through it, so that reloading, going back and bookmarks work.
import * as api from "./api.js";
import { decode, encode, parse, show } from "./keys.js";
import { List } from "./list.js";
import { Listing } from "./listing.js";
import { Pair } from "./pair.js";
import { Partitions } from "./partitions.js";
import { $, fillKey, make } from "./show.js";

const TYPING_MS = 150;

// ---------------------------------------------------------------- where one is

const start = { view: "keys", prefix: "", delimiter: "/", key: null };
let place = start;

function placeOf(hash) {
  const [view, ...parts] = hash.slice(1).split("&");
  const found = { ...start, view: view === "partitions" ? view : "keys" };
  for (const part of parts) {
    const [name, value = ""] = part.split("=");
    if (["prefix", "delimiter", "key"].includes(name)) found[name] = decode(value);
  }
  return found;
}

function hashOf({ view, prefix, delimiter, key }) {
  if (view !== "keys") return `#${view}`;
  const parts = ["keys"];
  if (prefix) parts.push(`prefix=${encode(prefix)}`);
  if (delimiter !== start.delimiter) parts.push(`delimiter=${encode(delimiter)}`);
  if (key !== null) parts.push(`key=${encode(key)}`);
  return `#${parts.join("&")}`;
}

const leaves = (next) => next.key !== place.key || next.view !== place.view;

// `replace`: no step of its own on the way back.
async function go(changes, replace = false) {
  const next = { ...place, ...changes };
  if (leaves(next) && !(await pair.leave())) return;
  history[replace ? "replaceState" : "pushState"](null, "", hashOf(next));
  arrive(next);
}

async function onHash() {
  const next = placeOf(location.hash);
  if (hashOf(next) === hashOf(place)) return;
  if (!leaves(next) || (await pair.leave())) arrive(next);
  else history.pushState(null, "", hashOf(place));
}

function arrive(next) {
  const before = place;
  place = next;
  const keys = next.view === "keys";
  for (const view of ["keys", "partitions"]) {
    $(`${view}-view`).hidden = view !== next.view; // no element has the name behind the #: none is scrolled to
    if (view === next.view) $(`to-${view}`).setAttribute("aria-current", "page");
    else $(`to-${view}`).removeAttribute("aria-current");
  }
  partitions.show(!keys);
  showState();
  if (!keys) return;
  if (!listing || before.prefix !== next.prefix || before.delimiter !== next.delimiter) browse(before.prefix);
  if (next.key === null && before.key !== null) pair.hide();
  else if (next.key !== null && (next.key !== before.key || !pair.open)) pair.show(next.key, before !== start);
  list.mark(next.key);
  showPair();
}

// On a narrow screen the pair covers the list.
const showPair = () => document.body.classList.toggle("reading", pair.open);

// ---------------------------------------------------------------- the list

let listing = null;

const list = new List($("rows"), {
  open: (row) => go(row.folder ? { prefix: row.name, key: null } : { key: row.name }),
  up: () => goUp(),
  remove: (row) => pair.remove(row.name, row.version),
  more: () => listing.more(),
});

// One folder up; from a prefix that is no folder, to the one that it lies in.
function goUp() {
  const { prefix, delimiter } = place;
  if (!prefix) return;
  const cut = delimiter ? prefix.lastIndexOf(delimiter, prefix.length - delimiter.length - 1) : -1;
  go({ prefix: cut < 0 ? "" : prefix.slice(0, cut + delimiter.length), key: null });
}

// `from` is the prefix before: the way up ends at the folder that one came from.
function browse(from) {
  const { prefix, delimiter } = place;
  listing?.close();
  listing = new Listing(prefix, delimiter, {
    listed: () => {
      const { rows } = listing;
      list.show(rows, place.key ?? (rows.find(from)?.folder ? from : null));
      tellCount();
    },
    update: () => redraw(),
    missed: () => {
      redraw();
      pair.refresh();
    },
    change: (change) => pair.heard(change),
    state: (state) => showState("keys", state),
  });
  fillPath();
  for (const [id, value] of [["prefix", prefix], ["delimiter", delimiter]])
    if (parse($(id).value) !== value) $(id).value = show(value);
}

function redraw() {
  if (!listing.listed) return;
  if (list.rows === listing.rows) list.update();
  else list.show(listing.rows);
  tellCount();
}

function tellCount() {
  const { rows, problem, full } = listing;
  const count = rows.all.length;
  let text = `${count.toLocaleString("en")}${rows.reach === null ? "" : " and more"} ${count === 1 ? "row" : "rows"}`;
  if (full) text += "; narrow the prefix to see others";
  if (!count && rows.reach === null) text = rows.prefix ? "No key begins so." : "There are no keys yet.";
  if (!problem) {
    if ($("count").textContent !== text) $("count").textContent = text;
    return;
  }
  const again = make("button", { type: "button" }, "Try again");
  again.addEventListener("click", () => listing.refresh());
  $("count").replaceChildren(problem, " ", again);
}

function fillPath() {
  const { prefix, delimiter } = place;
  const steps = [["all", ""]];
  for (let at = 0, cut; delimiter && (cut = prefix.indexOf(delimiter, at)) >= 0; at = cut + delimiter.length)
    steps.push([prefix.slice(at, cut + delimiter.length), prefix.slice(0, cut + delimiter.length)]);
  $("path").hidden = steps.length === 1;
  $("path").replaceChildren(...steps.map(([name, target]) => {
    const link = make("a", { href: hashOf({ ...place, prefix: target, key: null }) });
    if (target) fillKey(link, name);
    else link.textContent = name;
    if (target === prefix) link.setAttribute("aria-current", "true");
    return link;
  }));
}

const states = { keys: "connecting", partitions: "connecting" };

function showState(view = place.view, news = states[view]) {
  states[view] = news;
  const state = states[place.view];
  const text = { connecting: "connecting", live: "live", waiting: "waiting for the server", off: "live updates: off" }[state];
  $("live").dataset.state = state;
  if ($("live-text").value !== text) $("live-text").value = text;
}

// ---------------------------------------------------------------- the pair

const pair = new Pair({
  changed: (change) => listing.changed(change),
  closed: () => close(),
  opened: (key) => (key === place.key ? pair.show(key) : go({ key })),
  sure,
});

async function close() {
  if (place.key !== null) await go({ key: null });
  else if (await pair.leave()) pair.hide();
  showPair();
  if (!pair.open) list.element.focus();
}

$("new").addEventListener("click", async () => {
  if (!(await pair.leave())) return;
  if (place.key !== null) await go({ key: null });
  pair.create(null, place.prefix);
  showPair();
});

let answer = null; // what waits for it

// Asks in the page; whether the answer is yes.
function sure(text, yes) {
  $("sure-text").textContent = text;
  $("sure-yes").textContent = yes;
  $("sure").showModal();
  $("sure-no").focus();
  return new Promise((resolve) => (answer = resolve));
}

function reply(yes) {
  $("sure").close();
  answer?.(yes);
  answer = null;
}

$("sure-yes").addEventListener("click", () => reply(true));
$("sure-no").addEventListener("click", () => reply(false));
$("sure").addEventListener("cancel", () => reply(false));
// It comes late: by then something else may have been asked.
$("sure").addEventListener("close", () => $("sure").open || reply(false));

// ---------------------------------------------------------------- signing in

// Asks for the token; it goes nowhere but into the requests of this page.
api.onSignIn((refused) => {
  $("sign-in-text").textContent = refused ? "This token is not known." : "The server asks for a token.";
  $("token").value = "";
  $("sign-in").showModal();
  return new Promise((resolve) => {
    const end = (token) => {
      $("sign-in").onclose = null;
      $("token").value = "";
      $("sign-in").close();
      $("sign-in-again").hidden = token !== null;
      resolve(token);
    };
    $("sign-in-form").onsubmit = (event) => {
      event.preventDefault();
      end($("token").value.trim().replace(/[^\x21-\x7e]/g, "?")); // what no header holds is no token either
    };
    $("sign-in-no").onclick = () => end(null);
    $("sign-in").onclose = () => end(null); // also when it is cancelled
  });
});

$("sign-in-again").addEventListener("click", () => location.reload());

// ---------------------------------------------------------------- searching, keys of the keyboard

let typing;

function search() {
  clearTimeout(typing);
  const prefix = parse($("prefix").value);
  const delimiter = parse($("delimiter").value);
  if (prefix === place.prefix && delimiter === place.delimiter) return;
  // What is open is told of changes only while it is in the list.
  const stays = place.key === null || place.key.startsWith(prefix);
  go({ prefix, delimiter, ...(!stays && { key: null }) }, true);
}

for (const id of ["prefix", "delimiter"]) {
  $(id).addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(search, TYPING_MS);
  });
  $(id).addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    search();
    list.element.focus();
  });
}

$("search").addEventListener("submit", (event) => event.preventDefault());

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const writing = event.target.closest("input, textarea");
  if (event.key === "/" && !writing && place.view === "keys") {
    event.preventDefault();
    $("prefix").focus();
    $("prefix").select();
  } else if (event.key === "Escape" && event.target.closest("#search")) {
    list.element.focus();
  } else if (event.key === "Escape" && pair.open) {
    event.preventDefault();
    if (pair.editing) pair.cancel();
    else close();
  }
});

const partitions = new Partitions((state) => showState("partitions", state));
window.addEventListener("popstate", onHash);
arrive(placeOf(location.hash));
