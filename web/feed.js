// SPDX-License-Identifier: MIT
// The changes below a prefix, as they happen (docs/feed.md). Not by EventSource: that cannot carry a token.
import { send } from "./api.js";
import { encode, fromJSON } from "./keys.js";

const SILENCE_MS = 40_000; // without a word for so long the connection is dead: it speaks every 15 s
const HIDDEN_MS = 30_000; // a tab that nobody looks at gives its connection back: a browser has six for a server
const RETRY_MS = [500, 1000, 2000, 5000, 10_000];

// The lines of a stream of bytes.
async function* linesOf(body) {
  let rest = "";
  for (const reader = body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    yield* lines;
  }
}

export class Feed {
  // on.begin: the changes from here on will come, those before may not have; asks for a fresh list.
  // on.change: { event, key, version, type, expires }, in order per key, perhaps more than once.
  // on.state: "live", "waiting" (for the server to come back), "off" (it has no feed).
  constructor(prefix, on) {
    this.prefix = prefix;
    this.on = on;
    this.token = null;
    this.failures = 0;
    this.onVisibility = () => this.visibility();
    document.addEventListener("visibilitychange", this.onVisibility);
    this.open();
  }

  close() {
    document.removeEventListener("visibilitychange", this.onVisibility);
    this.stop();
  }

  stop() {
    clearTimeout(this.timer);
    this.source?.abort();
    this.source = null;
  }

  async open() {
    this.stop();
    const source = (this.source = new AbortController());
    const since = this.token ? encode(this.token) : "now";
    let pause = null;
    try {
      this.listen();
      const answer = await send(`/changes?prefix=${encode(this.prefix)}&since=${since}`,
        { headers: { Accept: "application/x-ndjson" }, signal: source.signal });
      if (answer.ok) for await (const line of linesOf(answer.body)) this.heard(JSON.parse(line));
      else pause = this.refused(answer.status);
    } catch {
      // The connection was lost, or stop() ended it.
    }
    if (source !== this.source) return;
    this.on.state(this.off ? "off" : "waiting");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), pause ?? RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)]);
  }

  listen() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), SILENCE_MS);
  }

  heard(event) {
    const begun = this.token === null;
    this.token = event.token;
    this.failures = 0;
    this.listen();
    this.on.state("live");
    if (begun) this.on.begin();
    if (event.event === "progress") return;
    this.on.change({ event: event.event, key: fromJSON(event, "key"), version: event.version, type: event.type, expires: event.expires });
  }

  // Too long away, or another store now: from the beginning. How long to wait, if not as usual.
  refused(status) {
    if (status === 410 || status === 400) this.token = null;
    this.off = status === 404 || status === 401; // 401: the user has no token to give
    return status === 410 ? 0 : null;
  }

  visibility() {
    clearTimeout(this.hiding);
    if (document.hidden) this.hiding = setTimeout(() => this.stop(), HIDDEN_MS);
    else if (!this.source) this.open();
  }
}
