// SPDX-License-Identifier: MIT
// How things are shown. Whatever comes from the store becomes text nodes, never markup.
import { pieces } from "./keys.js";

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Fills an element with a key; what is escaped can be told from the same characters in a key.
export function fillKey(element, key) {
  element.replaceChildren(...pieces(key).map(([text, escaped]) => (escaped ? make("i", {}, text) : text)));
}

const SAY_MS = 4000;
let silence;

// For those who hear the page, and at the lower edge for a moment.
export function say(text) {
  clearTimeout(silence);
  $("said").textContent = text;
  silence = setTimeout(() => $("said").replaceChildren(), SAY_MS);
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

const day = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit" });
const clock = new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const time = (ms) => `${day.format(ms)} ${clock.format(ms)}`;
// As short as it can be told from other times: today only the time.
export const shortTime = (ms) => (day.format(ms) === day.format(Date.now()) ? clock : day).format(ms);

export function span(seconds) {
  if (seconds < 0.0009995) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${seconds < 0.00995 ? (seconds * 1000).toFixed(1) : Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export function number(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return Number.isInteger(value) || value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(1);
}

// 00000010  68 65 6c 6c 6f 0a 00 ff  …                          hello...
export function hex(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = Array.from(bytes.subarray(at, at + 16));
    const codes = row.map((byte, i) => byte.toString(16).padStart(2, "0") + (i === 7 ? " " : "")).join(" ");
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${codes.padEnd(49)} ${text}`);
  }
  return lines.join("\n");
}

// JSON with line breaks and indents. The text is not read and written anew: numbers of any size,
// doubled names and the way in which strings are escaped stay as they are.
export function indentJSON(text) {
  JSON.parse(text); // throws if it is none
  let out = "";
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [token] of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[{[]\s*[}\]]|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (token === "{" || token === "[") {
      depth++;
      out += token + line();
    } else if (token === "}" || token === "]") {
      depth--;
      out += line() + token;
    } else if (token === ",") out += token + line();
    else if (token === ":") out += ": ";
    else out += /^[{[]/.test(token) ? token[0] + token.at(-1) : token;
  }
  return out;
}
