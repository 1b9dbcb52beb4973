// SPDX-License-Identifier: MIT
// The daemon's HTTP interface (docs/http.md), as far as the page needs it.
import { encode, toBytes } from "./keys.js";

const FIRST_PART = 256 * 1024; // bytes of a value that are fetched unless all are asked for

// An answer that is no success; the message is what the daemon said.
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function problemOf(answer) {
  let detail = answer.statusText;
  if (answer.headers.get("Content-Type") === "application/problem+json") {
    const problem = await answer.json().catch(() => ({}));
    detail = problem.detail || problem.title || detail;
  }
  return new Problem(answer.status, `${answer.status}: ${detail}`);
}

// The token that the user signed in with: in memory only, a reload forgets it.
let token = null;
let asking = null; // the question for it, one for all requests that need it
let question = async () => null;
let declined = false; // the user gave none: he is not asked again

// `ask` is called when a token is needed, with whether the last one was refused; returns a promise of it, or of null.
export const onSignIn = (ask) => (question = ask);

export const signedIn = () => token !== null;

async function signIn(refused) {
  if (declined) return false;
  asking ??= question(refused !== null).finally(() => (asking = null));
  token = await asking;
  declined = token === null;
  return !declined;
}

// fetch() with the token, for which the user is asked if there has to be one.
export async function send(path, options = {}) {
  for (;;) {
    const used = token;
    const headers = new Headers(options.headers);
    if (used !== null) headers.set("Authorization", `Bearer ${used}`);
    const answer = await fetch(path, { cache: "no-store", redirect: "error", ...options, headers });
    // Another request may have got a new one meanwhile.
    if (answer.status !== 401 || (token === used && !(await signIn(used)))) return answer;
  }
}

async function ask(path, options = {}) {
  const headers = new Headers(options.headers); // throws if it is no header
  let answer;
  try {
    answer = await send(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not answer.");
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

// A page of keys: { keys, next }; `next` is what list() takes for the page behind it, or null.
export async function list(query, signal) {
  const address =
    typeof query === "string" ? query : `/keys?${Object.entries(query).filter(([, value]) => value !== "")
      .map(([name, value]) => `${name}=${encode(String(value))}`).join("&")}`;
  return (await ask(address, { signal, headers: { Accept: "application/json" } })).json();
}

// A browser takes these two keys, however they are written, for a way up the path: they go by /bulk.
const unreachable = (key) => key === "." || key === "..";

export const address = (key) => (unreachable(key) ? null : `/keys/${encode(key)}`);

async function bulk(operation) {
  const answer = await ask("/bulk", { method: "POST", body: `${JSON.stringify(operation)}\n` });
  const result = JSON.parse(await answer.text());
  if (result.status >= 400) throw new Problem(result.status, `${result.status}: ${result.detail ?? ""}`);
  const bytes = "value" in result ? new TextEncoder().encode(result.value)
    : toBytes(atob(result.value_base64 ?? ""));
  return new Response(result.status === 204 ? null : bytes, {
    status: result.status,
    headers: { ETag: `"${result.version}"`, "Content-Type": result.type ?? "" },
  });
}

const version = (answer) => answer.headers.get("ETag")?.replaceAll('"', "") ?? null;

async function getAnswer(key, whole, signal) {
  if (unreachable(key)) return bulk({ op: "get", key });
  const range = whole ? {} : { Range: `bytes=0-${FIRST_PART - 1}` };
  try {
    return await ask(address(key), { signal, headers: range });
  } catch (error) {
    if (error.status === 416) return getAnswer(key, true, signal); // an empty value has no first byte
    throw error;
  }
}

// A value: its bytes (the first 256 KiB unless `whole`), its size, and what is stored beside it.
export async function get(key, whole, signal) {
  const answer = await getAnswer(key, whole, signal);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const total = /\/(\d+)$/.exec(answer.headers.get("Content-Range") ?? "");
  return {
    bytes,
    size: total ? Number(total[1]) : bytes.length,
    type: answer.headers.get("Content-Type") ?? "",
    version: version(answer),
    ttl: answer.headers.has("X-TTL") ? Number(answer.headers.get("X-TTL")) : null,
    partition: answer.headers.get("Sherd-Partition"),
    stale: answer.headers.get("Sherd-Stale"),
  };
}

// All of a value, to be saved by the browser: a link cannot carry the token.
export const whole = async (key) => (await getAnswer(key, true)).blob();

// `match` is the version that the pair must have now; null: there must be none.
const condition = (match) => (match === null ? { "If-None-Match": "*" } : { "If-Match": `"${match}"` });

// Both return { status, version }.
export async function put(key, bytes, { type, ttl, match }) {
  let answer;
  if (unreachable(key)) {
    const bulkCondition = match === null ? { if_none_match: "*" } : { if_match: match };
    const value_base64 = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    answer = await bulk({ op: "put", key, value_base64, ...(type && { type }), ...(ttl && { ttl }), ...bulkCondition });
  } else {
    const headers = { ...condition(match), ...(type && { "Content-Type": type }), ...(ttl && { "X-TTL": String(ttl) }) };
    answer = await ask(address(key), { method: "PUT", body: bytes, headers });
  }
  return { status: answer.status, version: version(answer) };
}

export async function remove(key, match) {
  const answer = unreachable(key) ? await bulk({ op: "delete", key, if_match: match })
    : await ask(address(key), { method: "DELETE", headers: condition(match) });
  return { status: answer.status, version: version(answer) };
}

// The version that a key has now, null if there is none.
export async function currentVersion(key) {
  try {
    return unreachable(key) ? version(await bulk({ op: "get", key }))
      : version(await ask(address(key), { method: "HEAD" }));
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

export const status = async () => (await ask("/status")).json();
export const metrics = async () => (await ask("/metrics")).text();
