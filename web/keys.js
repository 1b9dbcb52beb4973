// SPDX-License-Identifier: MIT
// Keys are any bytes. Here a key is a string of which each character stands for one byte (0 to 255):
// such strings compare, search and slice as the bytes do, and JSON's base64 decodes to them.

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function fromBytes(bytes) {
  let key = "";
  for (let i = 0; i < bytes.length; i += 4096) key += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return key;
}

export const fromText = (text) => fromBytes(new TextEncoder().encode(text));
export const toBytes = (key) => Uint8Array.from(key, (c) => c.charCodeAt(0));

// The bytes of `name` or `name_base64` in an object of the API.
export function fromJSON(object, name) {
  return name in object ? fromText(object[name]) : atob(object[`${name}_base64`]);
}

// For a path or a query. The slash too is encoded: a browser would make `/keys/b` of `/keys/a/../b`.
export function encode(key) {
  return key.replace(/[^A-Za-z0-9._~-]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

export function decode(text) {
  return fromText(text).replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
}

const escape = (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`;
// What cannot be seen, looks like a space, or turns the text around.
const unseen = /[\p{Cc}\p{Cf}\p{Z}]/u;

// The character at `i`, "" where the bytes are no UTF-8; and how many bytes it has.
function character(key, i) {
  const lead = key.charCodeAt(i);
  const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  try {
    return [utf8.decode(toBytes(key.slice(i, i + length))), length];
  } catch {
    return ["", 1];
  }
}

// Pieces of text that a person can read and type: [text, escaped]. Escaped is what is not visible text,
// as \xff; a backslash that would look like the beginning of that is doubled. parse() undoes it.
export function pieces(key) {
  if (/^[!-[\]-~]*$/.test(key)) return [[key, false]];
  const found = [];
  for (let i = 0; i < key.length; ) {
    const [text, length] = character(key, i);
    const inner = text === " " && i > 0 && i + 1 < key.length; // at the ends nobody would see it
    if (text && (inner || !unseen.test(text))) found.push([text, false]);
    else found.push([Array.from(key.slice(i, i + length), escape).join(""), true]);
    i += length;
  }
  const joined = [];
  let after = "";
  for (const [text, escaped] of found.reverse()) {
    const doubled = !escaped && text === "\\" && /^(\\|x[0-9a-f]{2})/i.test(after) ? "\\\\" : text;
    after = (doubled + after).slice(0, 3);
    if (joined.length && joined[0][1] === escaped) joined[0][0] = doubled + joined[0][0];
    else joined.unshift([doubled, escaped]);
  }
  return joined;
}

export const show = (key) => pieces(key).map(([text]) => text).join("");

// The key that was typed: \xff is a byte, \\ a backslash, everything else itself.
export function parse(text) {
  let key = "";
  for (const [part, hex] of text.matchAll(/\\\\|\\x([0-9a-f]{2})|[^\\]+|\\/gi))
    key += hex ? String.fromCharCode(parseInt(hex, 16)) : part === "\\\\" ? "\\" : fromText(part);
  return key;
}

// Versions are decimal numbers too large for a number of JavaScript.
export const newer = (a, b) => (a.length === b.length ? a > b : a.length > b.length);
// When a version was given, milliseconds since 1970.
export const time = (version) => Number(BigInt(version) >> 10n) / 1000;
